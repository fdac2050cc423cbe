// SPDX-License-Identifier: GPL-2.0-only

//! Paths and their connections.
//!
//! A path consists of its [set-up](progress), its [connections](links) and the
//! [chunks and queues](data) that its requests use.

mod data;
mod endpoints;
mod links;
mod progress;
mod stats;

use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        barrier::{
            smp_mb,
            Full, //
        },
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    auth::Hello,
    heartbeat::Heartbeat,
    path_memory::PathShape,
    path_state::{
        ServerState,
        StateCell, //
    },
    wire::rtrs::{
        ConnAccept,
        ConnReq, //
    }, //
};

use crate::{
    impl_has_owned_work,
    kernel_ext::{
        log::{
            LogPeer,
            Plain, //
        },
        set_once::SetOnce,
        sysfs::SysfsDir,
        trace::{
            self,
            Side, //
        },
        work::{
            self,
            OwnedWork, //
        }, //
    },
    new_owned_work,
    pr_err_ratelimited,
    pr_info_ratelimited,
    rdma::{
        cm::{
            CmEvent,
            CmEvents, //
        },
        pd::Pd,
        wc::Wc, //
    }, //
};

use self::{
    data::Data,
    links::Links,
    progress::SetupProgress, //
};
use super::{
    auth::PathAuth,
    config::ServerConfig,
    request::PendingRequest,
    service::SessionService,
    session::{
        Registry,
        Session, //
    }, //
};

pub(super) use self::endpoints::Endpoints;

pub(super) const TICK: u64 = 0;
pub(super) const TEARDOWN: u64 = 1;

/// The directories of a path in sysfs, in the order in which they are removed: its statistics,
/// then the directory that contains them.
pub(super) type PathDirs = [SysfsDir; 2];

/// Context of a queue pair: a connection of a path.
pub(super) struct Conn {
    path: Arc<Path>,
    id: u16,
    /// Of a connection whose client asks for authentication.
    hello: Option<Hello>,
}

impl Conn {
    /// Creates the context of connection `id` of `path`.
    pub(super) fn new(path: Arc<Path>, id: u16, hello: Option<Hello>) -> Self {
        Self { path, id, hello }
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Returns the id within the path; 0 is the control connection.
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Returns the private data of both sides, if the client asked for authentication.
    pub(super) fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Returns whether `wc`, of a `what`, succeeded. Closes the path otherwise.
    #[inline]
    pub(super) fn check(&self, wc: &Wc, what: &str) -> bool {
        let ok = wc.is_ok();
        if !ok {
            self.failed(wc, what);
        }
        ok
    }

    /// Closes the path because of `wc`, of a `what`, which failed.
    #[cold]
    fn failed(&self, wc: &Wc, what: &str) {
        if wc.is_flush() {
            // Closing a path flushes all work requests, and then this does nothing. Otherwise the
            // device has moved the queue pair to the error state. This may be the only sign of
            // it: the client's requests may have been acknowledged.
            self.path.close("the connection broke");
        } else {
            self.path.fail(fmt!(
                "{what} on connection {} failed: {}",
                self.id,
                wc.status_name()
            ));
        }
    }
}

impl CmEvents for Conn {
    fn event(&self, event: CmEvent) {
        match event {
            CmEvent::Established => {}
            CmEvent::Disconnected => self.path.close("disconnected"),
            CmEvent::AddrChange => self.path.close("address changed"),
            CmEvent::InterfaceDown => self.path.close("the network interface goes down"),
            CmEvent::DeviceRemoval => self.path.close("device removed"),
        }
    }
}

/// A path: the connections between two addresses that belong together, and their memory.
///
/// The path and its connections refer to each other. The teardown, which runs once for each path,
/// takes the connections out.
#[pin_data]
pub(super) struct Path {
    registry: Arc<dyn Registry>,
    config: Arc<ServerConfig>,
    session: Arc<Session>,
    /// The request of its first connection.
    req: ConnReq,
    /// Offered to its client.
    offer: ConnAccept,
    ends: Endpoints,
    /// Completion vector of connection 0; the other connections use the following ones.
    first_vector: u32,
    pd: Arc<Pd>,
    state: StateCell<ServerState>,
    setup: SetupProgress,
    #[pin]
    auth: PathAuth,
    #[pin]
    links: Links<Conn>,
    #[pin]
    data: Data<PendingRequest>,
    /// Set once the session knows that the path is up.
    service: SetOnce<Arc<dyn SessionService>>,
    heartbeat: Heartbeat,
    /// Set while sysfs shows the path.
    #[pin]
    dirs: Mutex<Option<PathDirs>>,
    #[pin]
    tick: OwnedWork<Self, TICK>,
    #[pin]
    teardown: OwnedWork<Self, TEARDOWN>,
}

impl_has_owned_work! {
    impl HasOwnedWork<TICK> for Path { self.tick }
    impl HasOwnedWork<TEARDOWN> for Path { self.teardown }
}

impl Path {
    /// Creates a path without connections, as `req` asks for. Its connections use consecutive
    /// completion vectors from `first_vector` on.
    pub(super) fn new(
        registry: Arc<dyn Registry>,
        config: &Arc<ServerConfig>,
        session: Arc<Session>,
        pd: Arc<Pd>,
        req: &ConnReq,
        ends: Endpoints,
        first_vector: u32,
    ) -> Result<Arc<Self>> {
        let queue = &config.queue;
        let offer = config.offer_for(req, pd.attrs().receives_eager());
        let (links, data) = (Links::new(req.count())?, Data::new()?);
        Arc::pin_init(
            pin_init!(Self {
                registry,
                config: config.clone(),
                session,
                req: *req,
                offer,
                ends,
                first_vector,
                pd,
                state: StateCell::new(),
                setup: SetupProgress::new(),
                auth <- PathAuth::new(),
                links <- links,
                data <- data,
                service: SetOnce::new(),
                heartbeat: Heartbeat::new(),
                dirs <- new_mutex!(None, "rtrs_path_dirs"),
                tick <- new_owned_work!(queue.clone(), "rtrs_server_tick"),
                teardown <- new_owned_work!(queue.clone(), "rtrs_server_teardown"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the server that it belongs to.
    pub(super) fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Returns the settings of the server.
    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Returns its session.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Returns the request of its first connection.
    pub(super) fn req(&self) -> &ConnReq {
        &self.req
    }

    /// Returns what decides the sizes of its queues.
    pub(super) fn shape(&self) -> PathShape {
        self.config.shape_of(&self.req, &self.offer)
    }

    /// Returns the offer to its client.
    pub(super) fn offer(&self) -> &ConnAccept {
        &self.offer
    }

    /// Returns its addresses.
    pub(super) fn ends(&self) -> &Endpoints {
        &self.ends
    }

    /// Returns the completion vector of connection `id`.
    pub(super) fn vector(&self, id: u16) -> u32 {
        self.first_vector.wrapping_add(id.into())
    }

    /// Returns its protection domain.
    pub(super) fn pd(&self) -> &Arc<Pd> {
        &self.pd
    }

    /// Returns the progress of its set-up.
    pub(super) fn setup(&self) -> &SetupProgress {
        &self.setup
    }

    /// Returns the proof that it owes its client.
    pub(super) fn auth(&self) -> &PathAuth {
        &self.auth
    }

    /// Returns its connections.
    pub(super) fn links(&self) -> &Links<Conn> {
        &self.links
    }

    /// Returns its chunks and queues.
    pub(super) fn data(&self) -> &Data<PendingRequest> {
        &self.data
    }

    /// Returns its heartbeat.
    pub(super) fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// Returns the user of its requests, once the session knows that the path is up.
    pub(super) fn service(&self) -> Option<&Arc<dyn SessionService>> {
        self.service.as_ref()
    }

    /// Sets the user of its requests: the session knows that the path is up.
    pub(super) fn set_service(&self, service: Arc<dyn SessionService>) {
        self.service.populate(service);
    }

    /// Stores its directories in sysfs.
    pub(super) fn set_dirs(&self, dirs: PathDirs) {
        *self.dirs.lock() = Some(dirs);
    }

    /// Removes its directories from sysfs, which waits for readers and writers of their files.
    pub(super) fn remove_dirs(&self) {
        // Not under the lock, though no other thread takes it at that point.
        let dirs = self.dirs.lock().take();
        drop(dirs);
    }

    /// Returns its state.
    pub(super) fn state(&self) -> ServerState {
        self.state.get()
    }

    /// Returns whether it is being torn down.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.state(), ServerState::Closing | ServerState::Closed)
    }

    /// Changes the state, if the rules allow that.
    pub(super) fn enter(&self, next: ServerState) -> bool {
        let changed = self.state.change(next).is_ok();
        if changed {
            trace::path(Side::Server, self, &Plain(format_args!("{next:?}")));
        }
        changed
    }

    /// Closes the path because of a fault of the peer or the hardware. Any context; the teardown
    /// runs later, and only once.
    pub(super) fn fail(self: &Arc<Self>, why: fmt::Arguments<'_>) {
        if self.enter(ServerState::Closing) {
            pr_err_ratelimited!(self => "{self}: closing: {why}\n");
            work::schedule::<_, TEARDOWN>(self);
        }
    }

    /// Closes the path for a reason that is not a fault; see [`Path::fail`].
    pub(super) fn close(self: &Arc<Self>, why: &str) {
        if self.enter(ServerState::Closing) {
            pr_info_ratelimited!(self => "{self}: closing: {why}\n");
            work::schedule::<_, TEARDOWN>(self);
        }
    }

    /// Tells the teardown that a chunk was released without being posted.
    ///
    /// Must be called in an RCU read section or in the work item of a dispatch queue, as the path
    /// may be freed once those have ended.
    pub(super) fn chunk_returned(&self) {
        // Either the teardown sees the chunk, or this sees the teardown.
        smp_mb(Full);
        if self.is_closing() {
            self.data.chunk_returned();
        }
    }
}

impl LogPeer for Path {
    fn log_key(&self) -> u64 {
        self.ends.log_key()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session.name().to_bytes() {
            [] => self.ends.fmt(f),
            name => f.write_fmt(fmt!("{} ({})", self.ends, Plain(name.escape_ascii()))),
        }
    }
}
