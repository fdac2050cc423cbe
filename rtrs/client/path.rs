// SPDX-License-Identifier: GPL-2.0-only

//! A path of a session: from one address to another, connected or not.
//!
//! Whatever takes time – connecting, taking a link down – happens under the mutex `work`.
//! The state says what a path is about to become, and changes by the rules of
//! [`ClientState`]; the task that makes a change does the work that belongs to it.

use super::connect;
use super::connect::ConnectParams;
use super::endpoints::Endpoints;
use super::io_request::IoRequest;
use super::link::Link;
use super::link_state::LinkEvents;
use super::link_state::LinkState;
use super::negotiated::PathLimits;
use super::reconnect::Reconnect;
use super::session_params::SessionParams;
use super::stats::Stats;
use crate::impl_has_owned_work;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::noio::NoIoScope;
use crate::kernel_ext::random;
use crate::kernel_ext::rcu::RcuBox;
use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Side;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWork;
use crate::kernel_ext::workqueue::WorkqueueHandle;
use crate::new_owned_work;
use crate::pr_warn_ratelimited;
use crate::rdma::cm::Interrupt;
use kernel::fmt;
use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::rcu::Guard;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::time::Delta;
use rnbd_proto::async_event::EventCount;
use rnbd_proto::path_state::ClientState;
use rnbd_proto::path_state::StateCell;
use rnbd_proto::session_state::Epoch;
use rnbd_proto::session_state::PathAvailability;
use rnbd_proto::wire::rtrs::Uuid;

pub(super) const LOST: u64 = 0;
pub(super) const CONNECT: u64 = 1;
pub(super) const HEARTBEAT: u64 = 2;

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
    src: Option<SockAddr>,
    dst: SockAddr,
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
    work: Mutex<Reconnect>,
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
        src: Option<SockAddr>,
        dst: SockAddr,
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
                work <- new_mutex!(Reconnect::new(), "rtrs_path_work"),
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
        connected.or(self.src).map(|src| src.with_port(0))
    }

    /// Returns the address of the server.
    pub(super) fn dst(&self) -> SockAddr {
        self.dst
    }

    /// Writes the name of the path's directory: `ip:10.50.100.65@ip:10.50.100.66`, or only
    /// the second address while the first one is not known.
    pub(super) fn fmt_addrs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(src) = self.src() {
            f.write_fmt(fmt!("{src}@"))?;
        }
        f.write_fmt(fmt!("{}", self.dst))
    }

    /// Whether a path from `src` to `dst` would be, or could become, the same: a source
    /// address that is not known yet can turn out to be any.
    pub(super) fn matches(&self, src: Option<&SockAddr>, dst: &SockAddr) -> bool {
        self.dst.with_port(0) == dst.with_port(0)
            && match (src, self.src()) {
                (Some(src), Some(own)) => src.with_port(0) == own,
                _ => true,
            }
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

    /// Connects a new path.
    ///
    /// On failure the path is as new, or closed if another task closed it.
    pub(super) fn connect_first(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock();
        if self.state.get() != ClientState::Connecting {
            return Err(ECANCELED);
        }
        self.try_connect(&mut work)
    }

    /// Schedules reconnects of a path whose first attempt failed.
    pub(super) fn start_reconnecting(self: &Arc<Self>) {
        let mut work = self.work.lock();
        self.attempt_failed(&mut work);
    }

    /// Plans the next attempt, unless another task closes the path. In state `Connecting`.
    fn attempt_failed(self: &Arc<Self>, work: &mut Reconnect) {
        let _ = self.change_state(ClientState::ConnectingErr);
        if self.change_state(ClientState::Reconnecting).is_ok() {
            let (delay, availability) = self.next_attempt(work);
            self.set_availability(availability);
            self.schedule_reconnect(delay);
        }
    }

    /// Connects: state `Connecting` becomes `Connected`.
    fn try_connect(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        // I/O may be waiting for this path.
        let _no_io = NoIoScope::begin();
        let link = LinkState::new(self.clone(), self.stats.clone())?;
        *self.attempt.lock() = Some(link.clone());
        let first = !self.owner.has_path_up();
        let recon_count = work.begin_attempt();
        let session = self.owner.params();
        let result = session.sess_name().and_then(|session_name| {
            let params = ConnectParams {
                session_name,
                session_uuid: session.uuid(),
                path_uuid: self.uuid,
                src: self.src.as_ref(),
                dst: &self.dst,
                link,
                recon_count,
                first,
                nr_poll_queues: session.nr_poll_queues(),
                interrupt: &self.interrupt,
            };
            connect::connect(&params, |limits| session.check_limits(limits))
        });
        // Dropped without the lock.
        let attempt = self.attempt.lock().take();
        drop(attempt);
        self.bring_up(result?)
    }

    /// Publishes a new link.
    fn bring_up(self: &Arc<Self>, link: Link) -> Result {
        let endpoints = Endpoints::of(link.control().ok_or(EIO)?);
        self.owner.adopt_limits(link.limits())?;
        drop(
            self.endpoints
                .replace(Some(KBox::new(endpoints, GFP_KERNEL)?)),
        );
        let count = link.nr_connections();
        let PathLimits { depth, max_io_size } = link.limits();
        self.link.replace(Some(KBox::new(link, GFP_KERNEL)?));
        if self
            .change_state_from(ClientState::Connecting, ClientState::Connected)
            .is_err()
        {
            self.take_down(PathAvailability::Down);
            return Err(ECANCELED);
        }
        pr_info!(
            "{self}: connected, {count} connections, queue depth {depth}, up to {max_io_size} bytes a request\n"
        );
        self.stats.connected(true);
        // At once, as its latency is not known before.
        work::reschedule_in::<_, HEARTBEAT>(self, Delta::ZERO);
        self.set_availability(PathAvailability::Up);
        Ok(())
    }

    /// Ends the link, if there is one. Requests in flight go over other paths, wait, or fail,
    /// as the state of the session is once this path has its new `availability`.
    fn take_down(&self, availability: PathAvailability) {
        // Submissions do not find the link any more after this.
        let link = self.link.replace(None);
        self.set_availability(availability);
        if let Some(link) = link {
            link.shut_down(|mut request| {
                request.failed_over = true;
                self.owner.clone().resend(request);
            });
        }
    }

    /// Takes a link down that failed, and plans the next attempt.
    pub(super) fn handle_lost_link(self: &Arc<Self>) {
        let mut work = self.work.lock();
        let failed = {
            let section = rcu::read_lock();
            let link = self.link.get(&section);
            link.is_some_and(|link| !link.state().is_alive())
        };
        if !failed
            || self
                .change_state_from(ClientState::Connected, ClientState::Reconnecting)
                .is_err()
        {
            return;
        }
        let (delay, availability) = self.next_attempt(&mut work);
        self.take_down(availability);
        self.schedule_reconnect(delay);
    }

    /// Makes a planned attempt, unless no more are allowed.
    pub(super) fn planned_reconnect(self: &Arc<Self>) {
        {
            let mut work = self.work.lock();
            if self.exceeds_attempts(&mut work) {
                self.set_availability(PathAvailability::Down);
                self.schedule_reconnect(None);
                return;
            }
            if self.connect_again(&mut work).is_err() {
                return;
            }
        }
        if self.owner.clone().path_reconnected(self) {
            // The server took the path and knows the devices: the next loss counts from 0.
            self.work.lock().reset_attempts();
        }
    }

    /// Returns when to make the next attempt, if one is allowed, and the availability until
    /// then, which the session must learn before [`Path::schedule_reconnect`]. In state
    /// `Reconnecting`.
    fn next_attempt(&self, work: &mut Reconnect) -> (Option<Delta>, PathAvailability) {
        match work.next_delay(self.owner.params().max_reconnect_attempts()) {
            Some(delay) => (Some(delay), PathAvailability::Connecting),
            None => (None, PathAvailability::Down),
        }
    }

    /// Applies a lower limit of attempts. If the path is busy, the task that holds `work`
    /// reads the limit before it plans an attempt.
    pub(super) fn max_attempts_changed(self: &Arc<Self>) {
        let Some(mut work) = self.work.try_lock() else {
            return;
        };
        if self.exceeds_attempts(&mut work) {
            work::reschedule_in::<_, CONNECT>(self, Delta::ZERO);
        }
    }

    /// Whether the path waits for an attempt that is not allowed any more.
    fn exceeds_attempts(&self, work: &mut Reconnect) -> bool {
        self.state.get() == ClientState::Reconnecting
            && work.exceeds(self.owner.params().max_reconnect_attempts())
    }

    /// Schedules the next attempt, or gives up without a `delay`.
    fn schedule_reconnect(self: &Arc<Self>, delay: Option<Delta>) {
        match delay {
            Some(delay) => {
                work::reschedule_in::<_, CONNECT>(self, delay);
            }
            None => {
                let attempts = self.owner.params().max_reconnect_attempts();
                pr_warn!("{self}: giving up after {attempts} reconnect attempts\n");
                if self.change_state(ClientState::Closing).is_ok() {
                    let _ = self.change_state(ClientState::Closed);
                }
            }
        }
    }

    /// Takes the path down until [`Path::reconnect`]. Ends an attempt to connect and waits
    /// for its end.
    pub(super) fn disconnect(self: &Arc<Self>) {
        // If paths reconnect at all, the user is expected to connect this one again.
        self.close(match self.owner.params().max_reconnect_attempts() {
            0 => PathAvailability::Down,
            _ => PathAvailability::Connecting,
        });
    }

    fn close(self: &Arc<Self>, availability: PathAvailability) {
        let change = self.change_state(ClientState::Closing);
        if change.is_ok() {
            self.interrupt.raise();
            let attempt = self.attempt.lock().clone();
            if let Some(link) = attempt {
                link.deactivate();
            }
        }
        // If the path is down already, this waits for the task that takes it down.
        let _work = self.work.lock();
        if change.is_ok() {
            self.take_down(availability);
            self.interrupt.reset();
            let _ = self.change_state(ClientState::Closed);
        }
    }

    /// Connects the path at once, whatever it was waiting for; again if it is up.
    pub(super) fn reconnect(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock();
        self.change_state(ClientState::Reconnecting)
            .or_else(|now| match now {
                ClientState::Reconnecting => Ok(now),
                _ => Err(EBUSY),
            })?;
        work.reset_attempts();
        self.take_down(PathAvailability::Connecting);
        self.connect_again(&mut work)?;
        drop(work);
        match self.owner.clone().path_reconnected(self) {
            true => Ok(()),
            false => Err(ECONNRESET),
        }
    }

    /// Makes one attempt in state `Reconnecting`.
    fn connect_again(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        self.change_state_from(ClientState::Reconnecting, ClientState::Connecting)
            .map_err(|_| ECANCELED)?;
        let result = self.try_connect(work);
        if let Err(e) = result {
            self.stats.connected(false);
            pr_warn_ratelimited!("{self}: reconnect failed: {e:?}\n");
            self.attempt_failed(work);
        }
        result
    }

    /// Ends the path: after this none of its work items runs or can be scheduled. Idempotent;
    /// waits for another task that does it.
    pub(super) fn shut_down(self: &Arc<Self>) {
        // `reconnect` may come in between.
        while self.state.get() != ClientState::Dead {
            self.close(PathAvailability::Down);
            let _ = self.change_state(ClientState::Dead);
        }
        self.set_availability(PathAvailability::Down);
        work::stop_sync::<_, LOST>(self);
        work::stop_sync::<_, CONNECT>(self);
        work::stop_sync::<_, HEARTBEAT>(self);
    }
}

impl LinkEvents for Path {
    fn link_failed(self: Arc<Self>, why: &str) {
        match self.state.get() {
            ClientState::Connected => pr_warn_ratelimited!("{self}: path lost: {why}\n"),
            // The task that makes the attempt logs its outcome.
            _ => pr_warn_ratelimited!("{self}: connection broke off: {why}\n"),
        }
        work::schedule::<_, LOST>(&self);
    }

    fn event_count_received(self: Arc<Self>, count: EventCount) {
        self.owner.clone().event_count_received(count);
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.params().fmt_name(f)?;
        f.write_str(" ")?;
        self.fmt_addrs(f)
    }
}
