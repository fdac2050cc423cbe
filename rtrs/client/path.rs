// SPDX-License-Identifier: GPL-2.0-only

//! A path of a session: from one address to another, connected or not.
//!
//! The state says what a path is about to become, and changes by the rules of
//! [`ClientState`]; the task that makes a change does the work that belongs to it.

mod background;
mod lifecycle;

use core::sync::atomic::AtomicU32;

use kernel::{
    fmt,
    new_spinlock,
    prelude::*,
    sync::{
        rcu::{
            self,
            Guard, //
        },
        Arc,
        SpinLock, //
    }, //
};

use rnbd_proto::{
    async_event::EventCount,
    path_state::{
        ClientState,
        StateCell, //
    },
    session_identity::PathEnds,
    session_state::{
        Epoch,
        PathAvailability, //
    },
    wire::rtrs::Uuid, //
};

use crate::{
    impl_has_owned_work,
    kernel_ext::{
        log::{
            LogPeer,
            Plain, //
        },
        net::SockAddr,
        noio_mutex::NoIoMutex,
        random,
        rcu::RcuBox,
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
    new_noio_mutex,
    new_owned_work,
    pr_warn_ratelimited,
    rdma::cm::Interrupt, //
};

use super::{
    endpoints::Endpoints,
    io_request::IoRequest,
    link::Link,
    link_state::{
        LinkEvents,
        LinkState, //
    },
    negotiated::PathLimits,
    reconnect::Reconnect,
    scoped_addr::ScopedAddr,
    session_params::SessionParams,
    stats::Stats, //
};

/// Work items of a path.
const LOST: u64 = 0;
const CONNECT: u64 = 1;
const HEARTBEAT: u64 = 2;

/// The owner of a path: what a path needs of its session.
pub(super) trait PathOwner: Send + Sync {
    /// Returns name, limits and settings.
    fn params(&self) -> &SessionParams;

    /// Whether a path is up.
    fn has_path_up(&self) -> bool;

    /// Takes over the limits of the first path that is connected.
    fn adopt_limits(&self, limits: PathLimits) -> Result;

    /// The availability of `path` changes to `to`, which may let I/O go on or fail.
    fn availability_changed(self: Arc<Self>, path: &Path, to: PathAvailability);

    /// `path` was connected again. Returns false if the server could not be told of the
    /// devices, and the link is given up.
    fn path_reconnected(self: Arc<Self>, path: &Arc<Path>) -> bool;

    /// Sends a request again that the link of a path did not complete.
    fn resend(self: Arc<Self>, request: IoRequest);

    /// A heartbeat of the server carried `count`. In softirq.
    fn event_count_received(self: Arc<Self>, count: EventCount);

    /// Removes `path`.
    fn remove_path(&self, path: &Arc<Path>);
}

/// A path.
///
/// It and its session refer to each other until the session removes it.
#[pin_data]
pub(super) struct Path {
    owner: Arc<dyn PathOwner>,
    /// As configured.
    src: Option<ScopedAddr>,
    dst: ScopedAddr,
    uuid: Uuid,
    state: StateCell<ClientState>,
    /// As the session knows it.
    #[pin]
    availability: SpinLock<PathAvailability>,
    /// Present while the path is up.
    link: RcuBox<Link>,
    stats: Arc<Stats>,
    /// Those of the last link. Read in any context, for log lines.
    endpoints: RcuBox<Endpoints>,
    /// Held while the path is connected or taken down.
    #[pin]
    work: NoIoMutex<Reconnect>,
    /// Tasks that have the session open the devices again.
    reports: AtomicU32,
    /// Ends an attempt to connect, together with `attempt`.
    #[pin]
    interrupt: Interrupt,
    #[pin]
    attempt: SpinLock<Option<Arc<LinkState>>>,
    #[pin]
    lost: OwnedWork<Self, LOST>,
    #[pin]
    connect: OwnedWork<Self, CONNECT>,
    #[pin]
    heartbeat: OwnedWork<Self, HEARTBEAT>,
}

impl_has_owned_work! {
    impl HasOwnedWork<LOST> for Path { self.lost }
    impl HasOwnedWork<CONNECT> for Path { self.connect }
    impl HasOwnedWork<HEARTBEAT> for Path { self.heartbeat }
}

impl Path {
    /// Makes a path from `src`, or any local address, to `dst`. Does not connect it.
    pub(super) fn new(
        owner: Arc<dyn PathOwner>,
        queue: &WorkqueueHandle,
        src: Option<ScopedAddr>,
        dst: ScopedAddr,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                owner,
                src,
                dst,
                uuid: Uuid(random::uuid()),
                state: StateCell::new(),
                availability <- new_spinlock!(
                    PathAvailability::Down,
                    "rtrs_path_availability"
                ),
                link: RcuBox::new(),
                stats: Stats::new()?,
                endpoints: RcuBox::new(),
                work <- new_noio_mutex!(Reconnect::new(), "rtrs_path_work"),
                reports: AtomicU32::new(0),
                interrupt <- Interrupt::new(),
                attempt <- new_spinlock!(None, "rtrs_path_attempt"),
                lost <- new_owned_work!(queue.clone(), "rtrs_path_lost"),
                connect <- new_owned_work!(queue.clone(), "rtrs_path_connect"),
                heartbeat <- new_owned_work!(queue.clone(), "rtrs_path_heartbeat"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the session.
    pub(super) fn owner(&self) -> &Arc<dyn PathOwner> {
        &self.owner
    }

    /// Returns the link, if the path is up.
    #[inline]
    pub(super) fn link<'a>(&'a self, section: &'a Guard) -> Option<&'a Link> {
        self.link.get(section)
    }

    /// Returns the counters.
    #[inline]
    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    pub(super) fn state(&self) -> ClientState {
        self.state.get()
    }

    /// Returns the availability as the session knows it.
    pub(super) fn availability(&self) -> &SpinLock<PathAvailability> {
        &self.availability
    }

    /// Returns the local end of the current or the last link.
    pub(super) fn endpoints(&self) -> Option<Endpoints> {
        self.endpoints.get(&rcu::read_lock()).copied()
    }

    /// Returns the local address, without a port: that of the last link or, before that, the
    /// configured one.
    pub(super) fn src(&self) -> Option<SockAddr> {
        let connected = self.endpoints().map(|endpoints| endpoints.src);
        let configured = self.src.as_ref().map(|src| *src.addr());
        connected.or(configured).map(|src| src.with_port(0))
    }

    /// Returns the address of the server.
    pub(super) fn dst(&self) -> SockAddr {
        *self.dst.addr()
    }

    /// Writes the name of the path's directory: `ip:10.50.100.65@ip:10.50.100.66`, or only
    /// the second address while the first one is not known.
    pub(super) fn fmt_addrs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(src) = self.src() {
            f.write_fmt(fmt!("{src}@"))?;
        }
        f.write_fmt(fmt!("{}", self.dst()))
    }

    /// Whether a path from `src` to `dst` would be, or could become, the same: a source
    /// address that is not known yet can turn out to be any.
    pub(super) fn matches(&self, src: Option<&SockAddr>, dst: &SockAddr) -> bool {
        self.dst().with_port(0) == dst.with_port(0)
            && match (src, self.src()) {
                (Some(src), Some(own)) => src.with_port(0) == own,
                _ => true,
            }
    }

    /// Returns both ends, to compare them with those that a user names.
    pub(super) fn ends(&self) -> Option<PathEnds> {
        Some(PathEnds {
            src: self.src().and_then(|src| src.path_end()),
            dst: self.dst().path_end()?,
        })
    }

    /// Changes the state; see [`StateCell::change`].
    fn change_state(&self, next: ClientState) -> core::result::Result<ClientState, ClientState> {
        let changed = self.state.change(next);
        self.trace_change(changed.is_ok(), next);
        changed
    }

    /// Changes the state; see [`StateCell::change_from`].
    fn change_state_from(
        &self,
        from: ClientState,
        next: ClientState,
    ) -> core::result::Result<ClientState, ClientState> {
        let changed = self.state.change_from(from, next);
        self.trace_change(changed.is_ok(), next);
        changed
    }

    fn trace_change(&self, changed: bool, now: ClientState) {
        if changed {
            trace::path(Side::Client, self, &Plain(format_args!("{now:?}")));
        }
    }

    fn set_availability(&self, to: PathAvailability) {
        self.owner.clone().availability_changed(self, to);
    }

    /// Fails the link because of `why`; the path is connected again.
    pub(super) fn fail_link(&self, why: &str) {
        let section = rcu::read_lock();
        if let Some(link) = self.link.get(&section) {
            link.state().fail(why);
        }
    }

    /// Records that the path is up in `epoch`: its link may carry I/O while the server knows
    /// the devices in that epoch.
    pub(super) fn set_epoch(&self, epoch: Epoch) {
        let section = rcu::read_lock();
        if let Some(link) = self.link.get(&section) {
            link.state().set_epoch(epoch);
        }
    }
}

impl LinkEvents for Path {
    fn link_failed(self: Arc<Self>, why: &str) {
        match self.state.get() {
            ClientState::Connected => pr_warn_ratelimited!(self => "{self}: path lost: {why}\n"),
            // The task that makes the attempt logs its outcome.
            _ => pr_warn_ratelimited!(self => "{self}: connection broke off: {why}\n"),
        }
        work::schedule::<_, LOST>(&self);
    }

    fn event_count_received(self: Arc<Self>, count: EventCount) {
        self.owner.clone().event_count_received(count);
    }
}

impl LogPeer for Path {
    fn log_key(&self) -> u64 {
        self.owner.params().name().log_key()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.params().fmt_name(f)?;
        f.write_str(" ")?;
        self.fmt_addrs(f)
    }
}
