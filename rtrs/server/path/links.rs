// SPDX-License-Identifier: GPL-2.0-only

//! The connections of a path: how they come in, how they are used, and how they go.

use core::sync::atomic::{
    AtomicU16,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    revocable::Revocable,
    sync::{
        lock::mutex::MutexGuard,
        rcu::{
            self,
            Guard, //
        },
        Arc,
        Mutex, //
    }, //
};

use crate::{
    kernel_ext::{
        completion::Completion,
        set_once::SetOnce, //
    },
    rdma::{
        connection::Connection,
        qp::QpRef, //
    }, //
};

/// The connections of a path, by id, with contexts of type `C`.
#[pin_data]
pub(in crate::server) struct Links<C: Send + Sync + 'static> {
    /// The teardown revokes it, which drains and destroys the connections.
    #[pin]
    links: Revocable<KVec<SetOnce<Connection<C>>>>,
    /// Number of connections that the path is to have.
    count: u16,
    /// Number of connections that were added or are being accepted.
    announced: AtomicU16,
    /// Held while a connection is added, but not while one is destroyed.
    #[pin]
    adding: Mutex<()>,
    /// Complete once all connections were added, or the path closes.
    #[pin]
    gathered: Completion,
}

impl<C: Send + Sync + 'static> Links<C> {
    /// Creates one for `count` connections, without any.
    pub(super) fn new(count: u16) -> Result<impl PinInit<Self>> {
        let mut links = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        for _ in 0..count {
            links.push(SetOnce::new(), GFP_KERNEL)?;
        }
        Ok(pin_init!(Self {
            links <- Revocable::new(links),
            count,
            announced: AtomicU16::new(0),
            adding <- new_mutex!((), "rtrs_path_adding"),
            gathered <- Completion::new(),
        }))
    }

    /// Returns the number of connections that the path is to have.
    pub(in crate::server) fn count(&self) -> u16 {
        self.count
    }

    /// Calls `f`, which must not sleep, with the queue pair of connection `id`.
    ///
    /// Returns `None` and drops `f` if there is no such connection, or the teardown has begun to
    /// destroy the connections.
    pub(in crate::server) fn with_qp<R>(
        &self,
        id: u16,
        f: impl FnOnce(&QpRef<'_, C>) -> R,
    ) -> Option<R> {
        self.with_qp_in(&rcu::read_lock(), id, f)
    }

    /// As [`Links::with_qp`], for a caller in an RCU read section.
    pub(in crate::server) fn with_qp_in<R>(
        &self,
        section: &Guard,
        id: u16,
        f: impl FnOnce(&QpRef<'_, C>) -> R,
    ) -> Option<R> {
        let links = self.links.try_access_with_guard(section)?;
        let link = links.get(usize::from(id))?.as_ref()?;
        Some(f(&link.qp()))
    }

    /// Returns the context of connection `id`; see [`Links::with_qp`].
    pub(in crate::server) fn context(&self, id: u16) -> Option<Arc<C>> {
        self.with_qp(id, |qp| qp.context().clone())
    }

    /// Returns whether connection `id` is there.
    pub(in crate::server) fn has(&self, id: u16) -> bool {
        self.with_qp(id, |_| ()).is_some()
    }

    /// Returns the port of the device, counted from 1. `None` without a control connection.
    pub(in crate::server) fn port(&self) -> Option<u32> {
        let links = self.links.try_access()?;
        let port = links.first()?.as_ref()?.port();
        Some(port)
    }

    /// Locks for adding a connection. The teardown of the path runs before or after.
    pub(in crate::server) fn lock(&self) -> MutexGuard<'_, ()> {
        self.adding.lock()
    }

    /// Records that a connection is going to be accepted. Returns whether it is the last one.
    pub(in crate::server) fn announce(&self) -> bool {
        self.announced.fetch_add(1, Relaxed).saturating_add(1) == self.count
    }

    /// Returns whether all connections were at least announced.
    pub(in crate::server) fn all_announced(&self) -> bool {
        self.announced.load(Relaxed) >= self.count
    }

    /// Adds connection `id`. Returns it if there is one already.
    pub(in crate::server) fn add(
        &self,
        id: u16,
        link: Connection<C>,
    ) -> core::result::Result<(), Connection<C>> {
        let Some(links) = self.links.try_access() else {
            return Err(link);
        };
        match links.get(usize::from(id)) {
            Some(slot) if slot.as_ref().is_none() => {
                slot.populate(link);
                Ok(())
            }
            _ => Err(link),
        }
    }

    /// Records that all connections were added.
    pub(in crate::server) fn all_added(&self) {
        self.gathered.complete_all();
    }

    /// Waits until all connections were added, or the path closes.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when the path closes.
    pub(in crate::server) fn wait_for_all(&self) -> Result {
        self.gathered.wait();
        if (0..self.count).all(|id| self.has(id)) {
            Ok(())
        } else {
            Err(ENOTCONN)
        }
    }

    /// Waits for a connection that is being added, and ends a set-up's wait for connections.
    /// The path is closing, so no connection is added after this.
    pub(in crate::server) fn stop_adding(&self) {
        drop(self.adding.lock());
        self.gathered.complete_all();
    }

    /// Disconnects, waits until the hardware has returned all posted work requests and their
    /// completions have run, and destroys the connections.
    pub(in crate::server) fn revoke(&self) {
        self.links.revoke();
    }
}
