// SPDX-License-Identifier: GPL-2.0-only

//! Sessions by name, each as long as it has users.

#![deny(unsafe_code)]

use core::ops::Deref;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// A session with a name.
pub(crate) trait Named {
    /// Returns the name.
    fn name(&self) -> &[u8];
}

/// The sessions in use.
#[pin_data]
pub(crate) struct SessionRegistry<S> {
    /// Held for look-ups only. No other lock is taken under it.
    #[pin]
    entries: Mutex<KVec<Entry<S>>>,
}

/// A session in use.
struct Entry<S> {
    session: Arc<S>,
    /// Number of [`SessionUser`]s, not zero.
    users: usize,
}

impl<S: Named> SessionRegistry<S> {
    /// Creates an empty registry.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                entries <- new_mutex!(KVec::new(), "rnbd_sessions"),
            }),
            GFP_KERNEL,
        )
    }

    /// Finds the session called `name`, or adds the one that `create` returns.
    pub(crate) fn find_or_add(
        this: &Arc<Self>,
        name: &[u8],
        create: impl FnOnce() -> Result<Arc<S>>,
    ) -> Result<SessionUser<S>> {
        let mut entries = this.entries.lock();
        let found = entries
            .iter_mut()
            .find(|entry| entry.session.name() == name);
        let session = match found {
            Some(entry) => {
                entry.users += 1;
                entry.session.clone()
            }
            None => {
                let session = create()?;
                let entry = Entry {
                    session: session.clone(),
                    users: 1,
                };
                entries.push(entry, GFP_KERNEL)?;
                session
            }
        };
        drop(entries);
        Ok(SessionUser {
            session,
            registry: this.clone(),
        })
    }

    /// Returns any session, or `None` if there is no session any more.
    pub(crate) fn first(&self) -> Option<Arc<S>> {
        let entries = self.entries.lock();
        entries.first().map(|entry| entry.session.clone())
    }
}

/// Keeps a session in the registry.
///
/// A running `map_device` has one, and so does each mapped device. It must be dropped after a
/// session without devices was closed: from then on another session of the same name may
/// connect.
pub(crate) struct SessionUser<S> {
    session: Arc<S>,
    registry: Arc<SessionRegistry<S>>,
}

impl<S> Deref for SessionUser<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.session
    }
}

impl<S> SessionUser<S> {
    /// Returns the session, which may leave the registry while the reference is held.
    pub(crate) fn session(&self) -> Arc<S> {
        self.session.clone()
    }
}

impl<S> Clone for SessionUser<S> {
    fn clone(&self) -> Self {
        let mut entries = self.registry.entries.lock();
        for entry in entries.iter_mut() {
            if Arc::ptr_eq(&entry.session, &self.session) {
                entry.users += 1;
            }
        }
        drop(entries);
        Self {
            session: self.session.clone(),
            registry: self.registry.clone(),
        }
    }
}

impl<S> Drop for SessionUser<S> {
    fn drop(&mut self) {
        let mut entries = self.registry.entries.lock();
        let position = entries
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.session, &self.session));
        let Some(index) = position else { return };
        if let Some(entry) = entries.get_mut(index) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users > 0 {
                return;
            }
        }
        let removed = entries.remove(index);
        drop(entries);
        drop(removed);
    }
}
