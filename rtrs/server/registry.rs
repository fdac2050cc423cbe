// SPDX-License-Identifier: GPL-2.0-only

//! The server as its paths and sessions see it: the table of paths and its lock.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex, //
    },
    time::msecs_to_jiffies, //
};

use rnbd_proto::{
    auth::KeyName,
    wire::{
        name::SessName,
        rtrs::ConnReq, //
    }, //
};

use crate::{
    kernel_ext::class::Class,
    rdma::device::CmDevice, //
};

use super::{
    config::ServerConfig,
    path::{
        Endpoints,
        Path, //
    },
    path_table::PathTable,
    service::Service,
    session::{
        Registry,
        Session, //
    }, //
};

/// Time that a new path waits for closing paths that are in its way.
const CLAIM_TIMEOUT_MS: u32 = 10_000;

/// The state that all parts of a server share.
#[pin_data]
pub(super) struct Shared {
    service: Arc<dyn Service>,
    config: Arc<ServerConfig>,
    #[pin]
    table: Mutex<PathTable>,
    /// Notified when a path has left the table, or is about to.
    #[pin]
    left: CondVar,
}

impl Shared {
    /// Creates the state of a server without paths. Its sessions are shown in `class`.
    pub(super) fn new(
        service: Arc<dyn Service>,
        config: ServerConfig,
        class: Class,
    ) -> Result<Arc<Self>> {
        let config = Arc::new(config, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                service,
                config,
                table <- new_mutex!(PathTable::new(class), "rtrs_server_table"),
                left <- new_condvar!("rtrs_server_left"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the path that a connection request belongs to; see [`PathTable::admit`].
    pub(super) fn admit(
        self: &Arc<Self>,
        req: &ConnReq,
        device: Result<CmDevice<'_>>,
        ends: Endpoints,
    ) -> Result<Arc<Path>> {
        let mut table = self.table.lock();
        table.admit(self.clone(), &self.config, req, device, ends)
    }

    /// Closes all paths, admits no more, and waits until they are gone.
    pub(super) fn stop(&self) {
        let mut table = self.table.lock();
        table.close_all();
        while !table.is_empty() {
            self.left.wait(&mut table);
        }
        let class = table.take_class();
        drop(table);
        drop(class);
    }
}

impl Registry for Shared {
    fn service(&self) -> &Arc<dyn Service> {
        &self.service
    }

    fn class(&self) -> Result<Class> {
        self.table.lock().class()
    }

    fn pinned(&self, session: &Arc<Session>) -> usize {
        self.table.lock().pinned(session)
    }

    fn close_session(&self, session: &Arc<Session>, why: &str) {
        self.table.lock().close_session(session, why);
    }

    /// A client may be back before its earlier paths are gone. So this waits for a session of the
    /// same name that is closing, and for closing paths of the same session: requests that these
    /// still execute may be resent by the client over `path`, under other message ids.
    fn claim_name(&self, path: &Arc<Path>, name: SessName<'_>) -> Result {
        let mut table = self.table.lock();
        let mut timeout = msecs_to_jiffies(CLAIM_TIMEOUT_MS);
        while !path.is_closing()
            && (table.is_leaving(path, name) || table.has_closing_sibling(path))
        {
            match self.left.wait_interruptible_timeout(&mut table, timeout) {
                CondVarTimeoutResult::Woken { jiffies } => timeout = jiffies,
                CondVarTimeoutResult::Timeout | CondVarTimeoutResult::Signal { .. } => break,
            }
        }
        table.claim_name(path, name)
    }

    fn claim_key(&self, path: &Arc<Path>, key: KeyName) -> Result {
        self.table.lock().claim_key(path, key)
    }

    fn path_closing(&self) {
        // A thread that saw the path open under the lock waits by the time the lock is free.
        drop(self.table.lock());
        self.left.notify_all();
    }

    fn remove(&self, path: &Arc<Path>) {
        self.table.lock().remove(path);
        self.left.notify_all();
    }
}
