// SPDX-License-Identifier: GPL-2.0-only

//! Sessions: the state that the paths of one client share.

use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    auth::KeyName,
    limits::{
        BufId,
        ServerLimits, //
    },
    wire::{
        name::SessName,
        rtrs::{
            ConnReq,
            Uuid, //
        }, //
    }, //
};

use crate::{
    impl_has_owned_work,
    kernel_ext::{
        class::Class,
        kobject::{
            AsSysfsParent,
            SysfsParent, //
        },
        log::Plain,
        net::SockAddr,
        set_once::SetOnce,
        sysfs::{
            Attrs,
            SysfsDir, //
        },
        trace::{
            self,
            Side, //
        },
        work::{
            self,
            OwnedWork, //
        },
        workqueue::WorkqueueHandle, //
    },
    new_owned_work, //
};

use super::{
    path::Path,
    request::PendingRequest,
    resend_order::ResendOrders,
    service::{
        Service,
        SessionService, //
    }, //
};

/// The work item of a session that serves requests which waited.
pub(super) const SERVE: u64 = 0;

/// The server, as its paths and sessions see it. No function is called for each request.
pub(super) trait Registry: Send + Sync {
    /// Returns the user of the server.
    fn service(&self) -> &Arc<dyn Service>;

    /// Returns the class of the sessions; `ENODEV` when the server has stopped.
    fn class(&self) -> Result<Class>;

    /// Returns the bytes of memory that the paths of `session` have for requests.
    fn pinned(&self, session: &Arc<Session>) -> usize;

    /// Closes all paths of `session`.
    fn close_session(&self, session: &Arc<Session>, why: &str);

    /// Gives the session of `path` the name that its client wants. Waits for paths that are
    /// closing and in the way.
    fn claim_name(&self, path: &Arc<Path>, name: SessName<'_>) -> Result;

    /// Binds the session of `path` to the key that its client has proven, and closes the paths
    /// that the client has given up for this one.
    fn claim_key(&self, path: &Arc<Path>, key: KeyName) -> Result;

    /// Ends the wait in [`Registry::claim_name`] of a path that is closing.
    fn path_closing(&self);

    /// Removes a path.
    fn remove(&self, path: &Arc<Path>);
}

/// A client's session. It exists as long as it has paths.
#[pin_data]
pub(super) struct Session {
    uuid: Uuid,
    /// Whether its client asks for authentication. Of two clients that call their sessions the
    /// same, one that does not ask gets nothing of the other's session.
    auth: bool,
    /// Name of the key that each of its paths has proven; set by the first one.
    key: SetOnce<KeyName>,
    /// Name that the client gave it; set by its first path, under the lock of the table.
    name: SetOnce<CString>,
    /// Held while the service is told of a path or session, so that it is told of one at a time.
    #[pin]
    upper: Mutex<Upper>,
    /// Whether a path is up; set under `upper`, read without.
    up: AtomicBool,
    #[pin]
    orders: ResendOrders<PendingRequest>,
    #[pin]
    serve: OwnedWork<Self, SERVE>,
}

impl_has_owned_work! {
    impl HasOwnedWork<SERVE> for Session { self.serve }
}

/// The directory of a session in sysfs. Dropping it waits for callbacks that run.
pub(super) struct SessionDir {
    // Dropped in this order.
    paths: SysfsDir,
    _files: Attrs,
}

impl SessionDir {
    /// Combines the directory of the paths and the files of the session.
    pub(super) fn new(paths: SysfsDir, files: Attrs) -> Self {
        Self {
            paths,
            _files: files,
        }
    }
}

/// State of a session that exists while a path is up.
struct Upper {
    /// Number of paths that are up.
    paths: usize,
    /// Set while `paths` is not 0.
    service: Option<Arc<dyn SessionService>>,
    /// Set while `paths` is not 0. Callbacks of its files do not take the lock.
    dir: Option<SessionDir>,
}

impl Session {
    /// Creates a session without a name and paths. Its work item runs on `queue`.
    pub(super) fn new(queue: &WorkqueueHandle, uuid: Uuid, auth: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                uuid,
                auth,
                key: SetOnce::new(),
                name: SetOnce::new(),
                upper <- new_mutex!(Upper { paths: 0, service: None, dir: None }, "rtrs_session"),
                up: AtomicBool::new(false),
                orders <- ResendOrders::new(),
                serve <- new_owned_work!(queue.clone(), "rtrs_server_serve"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether `req` is for it.
    pub(super) fn is(&self, req: &ConnReq) -> bool {
        self.uuid == req.session() && self.auth == req.auth()
    }

    /// Records that a path has proven `key`. Returns false if another one has proven another key.
    /// The caller holds the lock of the table.
    pub(super) fn bind_key(&self, key: KeyName) -> bool {
        self.key.populate(key);
        self.key() == Some(key)
    }

    /// Returns the name of the key that its paths have proven; `None` if its client does not ask
    /// for authentication, or no path is up yet.
    pub(super) fn key(&self) -> Option<KeyName> {
        self.key.as_ref().copied()
    }

    /// Returns whether a path is up, or was a moment ago.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Returns its name; empty before the client gave one.
    pub(super) fn name(&self) -> &CStr {
        self.name.as_ref().map_or(c"", |name| name)
    }

    /// Sets its name, if it has none. The caller holds the lock of the table.
    pub(super) fn set_name(&self, name: SessName<'_>) -> Result {
        if self.name.as_ref().is_none() {
            let mut bytes = KVec::with_capacity(name.as_bytes().len() + 1, GFP_KERNEL)?;
            bytes.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
            bytes.push(0, GFP_KERNEL)?;
            let text = CStr::from_bytes_with_nul(&bytes).map_err(|_| EINVAL)?;
            self.name.populate(CString::try_from(text)?);
        }
        Ok(())
    }

    /// Returns the order of its requests.
    pub(super) fn orders(&self) -> &ResendOrders<PendingRequest> {
        &self.orders
    }

    /// Records that the request of message id `id` was executed, so that the next one may be. Any
    /// context.
    #[inline]
    pub(super) fn executed(self: &Arc<Self>, id: BufId) {
        if self.orders.leave(id) {
            self.schedule_serve();
        }
    }

    /// Has the requests served that waited and are next.
    #[cold]
    fn schedule_serve(self: &Arc<Self>) {
        work::schedule::<_, SERVE>(self);
    }

    /// Tells the service that a path from `peer` comes up. For the first one, `session_up` brings
    /// the session up. Returns the service, and the parent of the directory of the path.
    pub(super) fn path_up(
        &self,
        peer: &SockAddr,
        session_up: impl FnOnce() -> Result<(Arc<dyn SessionService>, SessionDir)>,
    ) -> Result<(Arc<dyn SessionService>, SysfsParent)> {
        let mut upper = self.upper.lock();
        let (service, paths) = match &*upper {
            Upper {
                service: Some(service),
                dir: Some(dir),
                ..
            } => (service.clone(), dir.paths.parent()),
            _ => {
                let (service, dir) = session_up()?;
                let up = (service.clone(), dir.paths.parent());
                upper.service = Some(service);
                upper.dir = Some(dir);
                trace::session(Side::Server, self.name(), &Plain("Up"));
                up
            }
        };
        if let Err(e) = service.path_up(peer) {
            self.down_if_unused(&mut upper);
            return Err(e);
        }
        upper.paths += 1;
        self.up.store(true, Relaxed);
        Ok((service, paths))
    }

    /// Tells the service that a path from `peer`, which was up, is gone with all of its requests.
    /// The last one takes the session down.
    pub(super) fn path_down(&self, peer: &SockAddr) {
        let mut upper = self.upper.lock();
        upper.paths = upper.paths.saturating_sub(1);
        if let Some(service) = &upper.service {
            service.path_down(peer);
        }
        self.down_if_unused(&mut upper);
    }

    fn down_if_unused(&self, upper: &mut Upper) {
        if upper.paths > 0 {
            return;
        }
        self.up.store(false, Relaxed);
        if let Some(service) = upper.service.take() {
            service.session_down();
            trace::session(Side::Server, self.name(), &Plain("Down"));
        }
        // Before the path leaves the table, which frees the name.
        upper.dir = None;
    }
}

/// A session as its service sees it. Does not keep any resource of the session in use.
#[derive(Clone)]
pub struct SessionInfo {
    registry: Arc<dyn Registry>,
    limits: ServerLimits,
    session: Arc<Session>,
}

impl SessionInfo {
    /// Creates the service's view of `session`.
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        limits: ServerLimits,
        session: Arc<Session>,
    ) -> Self {
        Self {
            registry,
            limits,
            session,
        }
    }

    /// Returns the name that the client gave it: 1 to 255 bytes, without control characters, `/`
    /// and `.`.
    pub fn name(&self) -> &CStr {
        self.session.name()
    }

    /// Returns the name of the key that its client has proven, if it has.
    pub fn key(&self) -> Option<KeyName> {
        self.session.key()
    }

    /// Returns the maximum number of requests in flight.
    pub fn queue_depth(&self) -> u32 {
        self.limits.queue_depth().get().into()
    }

    /// Returns the maximum number of bytes of data of one request.
    pub fn max_io_size(&self) -> usize {
        self.limits.max_io_size() as usize
    }

    /// Disconnects the client. Does not wait for that; `session_down` follows.
    pub fn close(&self) {
        self.registry
            .close_session(&self.session, "closed by the service");
    }
}
