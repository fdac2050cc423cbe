// SPDX-License-Identifier: GPL-2.0-only

//! Sessions with a server, each shared by the devices mapped on it.
//!
//! A session is connected for its first device and closed with its last one.

#![deny(unsafe_code)]

use crate::device::Device;
use crate::mapped::Mapped;
use crate::mq::TagSet;
use crate::registry::SessionUser;
use crate::transport::Transport;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::text::UnmapMode;
use rnbd_proto::wire::name::SessName;
use rtrs::client::Client;
use rtrs::support::cpu;
use rtrs::support::log::Plain;

/// A session by name. It outlives the connection.
#[pin_data]
pub(crate) struct Session {
    name: KVec<u8>,
    /// The connection and the devices. Lock order: see [`crate::registry`].
    #[pin]
    live: Mutex<Option<Live>>,
}

/// A connected session.
///
/// Dropped in this order: disks, then the requests they share, then the
/// connection that executes these.
struct Live {
    /// Not empty once the lock is released.
    devices: KVec<Mapped>,
    tag_set: Arc<TagSet<Device>>,
    transport: Transport,
}

impl Session {
    /// A session that is not connected.
    pub(crate) fn new(name: SessName<'_>) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                name: copy,
                live <- new_mutex!(None, "rnbd_session"),
            }),
            GFP_KERNEL,
        )
    }

    /// The name that both sides know it by.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Maps a device, connecting the session first if need be. `user` is one of
    /// this session.
    pub(crate) fn map(&self, user: &SessionUser, options: &MapOptions<'_>) -> Result {
        let mut live = self.live.lock();
        let result = Self::map_locked(&mut live, user, options);
        Self::close_if_unused(&mut live);
        result
    }

    fn map_locked(live: &mut Option<Live>, user: &SessionUser, options: &MapOptions<'_>) -> Result {
        let live = match live {
            Some(live) => live.joined_by(options)?,
            None => live.insert(Live::connect(&user.registry().client, options)?),
        };
        live.map(user, options).inspect_err(|err| {
            pr_err!(
                "map_device: option device_path: {} on session {}: {:?}\n",
                Plain(options.device_path),
                Plain(options.sessname),
                err
            );
        })
    }

    /// Unmaps `device` of this session.
    ///
    /// `EBUSY` when it is open and `mode` is normal, `EALREADY` when someone
    /// else unmapped it.
    pub(crate) fn unmap(&self, device: &Arc<Device>, mode: UnmapMode) -> Result {
        let mut guard = self.live.lock();
        let live = Option::as_mut(&mut guard).ok_or(EALREADY)?;
        let index = live
            .devices
            .iter()
            .position(|mapped| mapped.is(device))
            .ok_or(EALREADY)?;
        let others = live.devices.len() > 1;
        let mapped = live.devices.get(index).ok_or(EALREADY)?;
        let forced = mode == UnmapMode::Force;
        if forced {
            // First, as who opens or scans the disk may be waiting for its I/O.
            mapped.abort(&live.transport, others);
        }
        mapped.retire(mode)?;
        // Without a path, I/O that nobody waits for any more must not be waited for.
        if !forced && !live.transport.is_connected() {
            mapped.abort(&live.transport, others);
        }
        let mapped = live.devices.remove(index).map_err(|_| EALREADY)?;

        // Keeps the name taken until the session is closed.
        let user = mapped.user().clone();
        drop(mapped);
        Self::close_if_unused(&mut guard);
        drop(guard);
        drop(user);
        Ok(())
    }

    /// Unmaps all devices, by force.
    pub(crate) fn unmap_all(&self) {
        let mut guard = self.live.lock();
        let Some(live) = guard.take() else { return };
        let user = live.devices.first().map(|mapped| mapped.user().clone());
        live.transport.close();
        drop(live);
        drop(guard);
        drop(user);
    }

    fn close_if_unused(live: &mut Option<Live>) {
        if live.as_ref().is_some_and(|live| live.devices.is_empty()) {
            *live = None;
        }
    }
}

impl Live {
    fn connect(client: &Client, options: &MapOptions<'_>) -> Result<Self> {
        if options.paths().next().is_none() {
            pr_err!(
                "map_device: option path is missing, and there is no session {}\n",
                Plain(options.sessname)
            );
            return Err(ENXIO);
        }
        let transport = Transport::connect(client, options).inspect_err(|err| {
            pr_err!(
                "map_device: option path: session {} cannot be connected: {:?}\n",
                Plain(options.sessname),
                err
            );
        })?;
        Ok(Self {
            devices: KVec::new(),
            tag_set: TagSet::new(
                transport.io_depth(),
                cpu::online(),
                transport.nr_poll_queues(),
            )?,
            transport,
        })
    }

    fn has(&self, options: &MapOptions<'_>) -> bool {
        let path = options.device_path.as_bytes();
        self.devices.iter().any(|known| known.path() == path)
    }

    /// Another device is going to be mapped. One that is polled needs a session of
    /// its own, as in the C driver.
    fn joined_by(&mut self, options: &MapOptions<'_>) -> Result<&mut Self> {
        let polled = options.nr_poll_queues > 0 || self.transport.nr_poll_queues() > 0;
        if !polled || self.has(options) {
            return Ok(self);
        }
        pr_err!(
            "map_device: option nr_poll_queues: a polled device needs a session of its own, {} exists\n",
            Plain(options.sessname)
        );
        Err(EINVAL)
    }

    fn map(&mut self, user: &SessionUser, options: &MapOptions<'_>) -> Result {
        if self.has(options) {
            return Err(EEXIST);
        }
        self.devices.reserve(1, GFP_KERNEL)?;
        let mapped = Mapped::new(&self.transport, &self.tag_set, user, options)?;
        Ok(self.devices.push(mapped, GFP_KERNEL)?)
    }
}
