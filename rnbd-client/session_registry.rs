// SPDX-License-Identifier: GPL-2.0-only

//! All sessions by name, and what all devices share.
//!
//! # Lock order
//!
//! 1. `BlockSession::live`, one for each session, held while that is connected or closed, and
//!    for each step of mapping or unmapping a device but those that wait for the server's
//!    answer: opening it, adding and removing its disk, closing it.
//! 2. `SessionRegistry::sessions`, held for look-ups only, and `DiskNumbers::pool`.
//!
//! Files of disks other than `unmap_device` take neither, as removing a disk
//! waits for them. I/O takes no lock at all.

#![deny(unsafe_code)]

use crate::block_session::BlockSession;
use crate::disk_number::DiskNumbers;
use crate::mq::Major;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::wire::name::SessName;
use rtrs::client::Client;
use rtrs::kernel_ext::debugfs;
use rtrs::kernel_ext::sysfs::SysfsDir;
use rtrs::kernel_ext::workqueue::OwnedWorkqueue;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;

/// All sessions, and what all devices share.
#[pin_data]
pub(crate) struct SessionRegistry {
    #[pin]
    sessions: Mutex<KVec<Entry>>,
    /// Numbers of disks.
    pub(crate) numbers: Arc<DiskNumbers>,
    /// `ctl/devices`, with a link for each device.
    pub(crate) links: SysfsDir,
    /// Where debugfs shows devices.
    pub(crate) debug: debugfs::DebugfsDir,
    /// The transport's part.
    pub(crate) client: Client,
    /// Major number of all devices.
    pub(crate) major: Major,
    /// Where devices are closed that were unmapped by force. Dropped by who made all this.
    pub(crate) queue: WorkqueueHandle,
}

/// A session in use.
struct Entry {
    session: Arc<BlockSession>,
    /// Number of [`SessionUser`]s, not zero.
    users: usize,
}

impl SessionRegistry {
    /// No sessions yet; links are going to be made in `links`.
    pub(crate) fn new(links: SysfsDir, queue: WorkqueueHandle) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                sessions <- new_mutex!(KVec::new(), "rnbd_sessions"),
                numbers: DiskNumbers::new()?,
                links,
                debug: debugfs::DebugfsDir::new(c"rnbd_client")?,
                client: Client::new()?,
                major: Major::register(c"rnbd")?,
                queue,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Finds or adds the session called `name`. A new one is not connected.
    pub(crate) fn session(this: Arc<Self>, name: SessName<'_>) -> Result<SessionUser> {
        let mut sessions = this.sessions.lock();
        let known = sessions
            .iter_mut()
            .find(|entry| entry.session.name() == name.as_bytes());
        let session = match known {
            Some(entry) => {
                entry.users += 1;
                entry.session.clone()
            }
            None => {
                let session = BlockSession::new(name)?;
                let entry = Entry {
                    session: session.clone(),
                    users: 1,
                };
                sessions.push(entry, GFP_KERNEL)?;
                session
            }
        };
        drop(sessions);
        Ok(SessionUser {
            session,
            registry: this,
        })
    }

    /// Unmaps every device. Nobody may be mapping one.
    pub(crate) fn shut_down(&self, queue: &OwnedWorkqueue) {
        // A session leaves the list with its last device, which may be on its way out:
        // without a connection that does not take long.
        while let Some(session) = self.first_session() {
            session.unmap_all();
            queue.flush();
        }
    }

    fn first_session(&self) -> Option<Arc<BlockSession>> {
        let sessions = self.sessions.lock();
        sessions.first().map(|entry| entry.session.clone())
    }
}

/// Keeps a session known by its name.
///
/// Mappers have one, and so does each device. It must be given up only after a
/// session without devices was closed: from then on another one of the same
/// name may connect.
pub(crate) struct SessionUser {
    session: Arc<BlockSession>,
    registry: Arc<SessionRegistry>,
}

impl SessionUser {
    /// The session.
    pub(crate) fn session(&self) -> &Arc<BlockSession> {
        &self.session
    }

    /// Where the session is known.
    pub(crate) fn registry(&self) -> &Arc<SessionRegistry> {
        &self.registry
    }
}

impl Clone for SessionUser {
    fn clone(&self) -> Self {
        let mut sessions = self.registry.sessions.lock();
        for entry in sessions.iter_mut() {
            if Arc::ptr_eq(&entry.session, &self.session) {
                entry.users += 1;
            }
        }
        Self {
            session: self.session.clone(),
            registry: self.registry.clone(),
        }
    }
}

impl Drop for SessionUser {
    fn drop(&mut self) {
        let mut sessions = self.registry.sessions.lock();
        let position = sessions
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.session, &self.session));
        let Some(index) = position else { return };
        if let Some(entry) = sessions.get_mut(index) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users > 0 {
                return;
            }
        }
        let removed = sessions.remove(index);
        drop(sessions);
        drop(removed);
    }
}
