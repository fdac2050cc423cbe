// SPDX-License-Identifier: GPL-2.0-only

//! A path of a session: from one address to another, connected or not.
//!
//! All that takes time – connecting, taking a link down – is done by who holds
//! `work`. The state says what a path is about to become, and changes along the
//! rules of [`ClientState`]; who wins a change does what it takes.

use super::connect;
use super::connect::Plan;
use super::endpoints::Endpoints;
use super::link::Link;
use super::link::PathLimits;
use super::link::Shared;
use super::reconnect::Reconnect;
use super::session::Session;
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
use crate::new_owned_work;
use crate::pr_warn_ratelimited;
use crate::rdma::cm::Interrupt;
use kernel::fmt;
use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::time::Delta;
use rnbd_proto::path_state::ClientState;
use rnbd_proto::path_state::StateCell;
use rnbd_proto::session_state::Epoch;
use rnbd_proto::session_state::PathAvailability;
use rnbd_proto::wire::rtrs::Uuid;

pub(super) const LOST: u64 = 0;
pub(super) const CONNECT: u64 = 1;
pub(super) const BEAT: u64 = 2;

/// A path.
///
/// It and its session refer to each other until it is removed from that.
#[pin_data]
pub(super) struct Path {
    pub(super) session: Arc<Session>,
    /// As somebody asked for it.
    src: Option<SockAddr>,
    dst: SockAddr,
    uuid: Uuid,
    pub(super) state: StateCell<ClientState>,
    #[pin]
    pub(super) standing: SpinLock<PathAvailability>,
    /// There while the path is up.
    pub(super) link: RcuBox<Link>,
    pub(super) stats: Arc<Stats>,
    /// Those of the last link. Read in any context, for what is logged.
    ends: RcuBox<Endpoints>,
    /// Held while the path is connected or taken down.
    #[pin]
    pub(super) work: Mutex<Reconnect>,
    /// Ends an attempt to connect, together with `attempt`.
    #[pin]
    interrupt: Interrupt,
    #[pin]
    attempt: SpinLock<Option<Arc<Shared>>>,
    #[pin]
    lost: OwnedWork<Self, LOST>,
    #[pin]
    connect: OwnedWork<Self, CONNECT>,
    #[pin]
    beat: OwnedWork<Self, BEAT>,
}

impl_has_owned_work! {
    impl HasOwnedWork<LOST> for Path { self.lost }
    impl HasOwnedWork<CONNECT> for Path { self.connect }
    impl HasOwnedWork<BEAT> for Path { self.beat }
}

impl Path {
    /// A path from `src`, or whichever address fits, to `dst`. Not connected.
    pub(super) fn new(
        session: &Arc<Session>,
        src: Option<SockAddr>,
        dst: SockAddr,
    ) -> Result<Arc<Self>> {
        let queue = session.queue();
        Arc::pin_init(
            try_pin_init!(Self {
                session: session.clone(),
                src,
                dst,
                uuid: Uuid(random::uuid()),
                state: StateCell::new(),
                standing <- new_spinlock!(PathAvailability::Down, "rtrs_path_standing"),
                link: RcuBox::new(),
                stats: Stats::new()?,
                ends: RcuBox::new(),
                work <- new_mutex!(Reconnect::new(), "rtrs_path_work"),
                interrupt <- Interrupt::new(),
                attempt <- new_spinlock!(None, "rtrs_path_attempt"),
                lost <- new_owned_work!(queue.clone(), "rtrs_path_lost"),
                connect <- new_owned_work!(queue.clone(), "rtrs_path_connect"),
                beat <- new_owned_work!(queue.clone(), "rtrs_path_beat"),
            }),
            GFP_KERNEL,
        )
    }

    /// Where it is, or was last, connected.
    pub(super) fn ends(&self) -> Option<Endpoints> {
        self.ends.get(&rcu::read_lock()).copied()
    }

    /// Its address on this side, without a port: that of the last connection, before
    /// that the one that was asked for, if one was.
    pub(super) fn src(&self) -> Option<SockAddr> {
        let connected = self.ends().map(|ends| ends.src);
        connected.or(self.src).map(|src| src.with_port(0))
    }

    /// The address of the server.
    pub(super) fn dst(&self) -> SockAddr {
        self.dst
    }

    /// Writes what its directory is called: `ip:10.50.100.65@ip:10.50.100.66`, or only
    /// the second address while the first one is not known.
    pub(super) fn fmt_way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(src) = self.src() {
            f.write_fmt(fmt!("{src}@"))?;
        }
        f.write_fmt(fmt!("{}", self.dst))
    }

    /// Changes the state; see [`StateCell::change`].
    fn enter(&self, next: ClientState) -> core::result::Result<ClientState, ClientState> {
        let changed = self.state.change(next);
        self.trace_change(changed.is_ok(), next);
        changed
    }

    /// Changes the state; see [`StateCell::change_from`].
    pub(super) fn enter_from(
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

    /// Whether it leads where one from `src` to `dst` would, or may: a source that is
    /// not known yet can turn out to be any.
    pub(super) fn is_to(&self, src: Option<&SockAddr>, dst: &SockAddr) -> bool {
        self.dst.with_port(0) == dst.with_port(0)
            && match (src, self.src()) {
                (Some(src), Some(own)) => src.with_port(0) == own,
                _ => true,
            }
    }

    /// Gives the link up, to be connected again.
    pub(super) fn give_up(&self, why: &str) {
        let section = rcu::read_lock();
        if let Some(link) = self.link.get(&section) {
            link.shared.fail(why);
        }
    }

    /// It is up in `epoch`, so that I/O may be sent by its link while the server knows the
    /// devices in that.
    pub(super) fn came_up(&self, epoch: Epoch) {
        let section = rcu::read_lock();
        if let Some(link) = self.link.get(&section) {
            link.shared.came_up(epoch);
        }
    }

    /// The link is of no use any more. In any context.
    pub(super) fn link_failed(self: &Arc<Self>, why: &str) {
        match self.state.get() {
            ClientState::Connected => pr_warn_ratelimited!("{self}: path lost: {why}\n"),
            // What came of the attempt is told by whoever makes it.
            _ => pr_warn_ratelimited!("{self}: connection broke off: {why}\n"),
        }
        work::schedule::<_, LOST>(self);
    }

    /// Connects a path that is new.
    ///
    /// When that fails the path is as new, or closed if somebody closed it.
    pub(super) fn connect_first(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock();
        if self.state.get() != ClientState::Connecting {
            return Err(ECANCELED);
        }
        self.try_connect(&mut work)
    }

    /// Leaves it to the tasks of a path whose first attempt failed to try again.
    pub(super) fn keep_trying(self: &Arc<Self>) {
        let mut work = self.work.lock();
        self.attempt_failed(&mut work);
    }

    /// In state `Connecting`, unless somebody closes it: not this time.
    fn attempt_failed(self: &Arc<Self>, work: &mut Reconnect) {
        let _ = self.enter(ClientState::ConnectingErr);
        if self.enter(ClientState::Reconnecting).is_ok() {
            let (next, standing) = self.next_attempt(work);
            self.session.path_changed(self, standing);
            self.plan(next);
        }
    }

    /// Connects, in state `Connecting`, which becomes `Connected`.
    fn try_connect(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        // I/O may be waiting for this path.
        let _no_io = NoIoScope::begin();
        let shared = Shared::new(self)?;
        *self.attempt.lock() = Some(shared.clone());
        let first = !self.session.desk.is_up();
        let lives = work.begin_life();
        let result = self.session.sess_name().and_then(|name| {
            let plan = Plan {
                name,
                src: self.src.as_ref(),
                dst: &self.dst,
                shared,
                path: self.uuid,
                session: self.session.uuid,
                lives,
                first,
                polled: self.session.nr_poll_queues(),
                interrupt: &self.interrupt,
            };
            connect::connect(&plan, |offer| self.session.fits(offer))
        });
        // Dropped without the lock.
        let attempt = self.attempt.lock().take();
        drop(attempt);
        self.take_up(result?)
    }

    /// The path has a link.
    fn take_up(self: &Arc<Self>, link: Link) -> Result {
        let control = link.connections.first().ok_or(EIO)?;
        let ends = Endpoints::of(control);
        self.session.learn(link.offer)?;
        drop(self.ends.replace(Some(KBox::new(ends, GFP_KERNEL)?)));
        let count = link.connections.len();
        let PathLimits { depth, max_io_size } = link.offer;
        self.link.replace(Some(KBox::new(link, GFP_KERNEL)?));
        if self
            .enter_from(ClientState::Connecting, ClientState::Connected)
            .is_err()
        {
            self.take_down(PathAvailability::Down);
            return Err(ECANCELED);
        }
        pr_info!(
            "{self}: connected, {count} connections, queue depth {depth}, up to {max_io_size} bytes a request\n"
        );
        self.stats.connected(true);
        // At once, as nothing is known of its latency before.
        work::reschedule_in::<_, BEAT>(self, Delta::ZERO);
        self.session.path_changed(self, PathAvailability::Up);
        Ok(())
    }

    /// Ends the link, if there is one. What was in flight goes by other paths, or
    /// waits, or fails, as the session stands after this path has its `standing`.
    pub(super) fn take_down(&self, standing: PathAvailability) {
        // Nobody finds the link any more after this.
        let link = self.link.replace(None);
        self.session.path_changed(self, standing);
        if let Some(link) = link {
            link.shut_down(|mut order| {
                order.moved = true;
                self.session.redirect(order);
            });
        }
    }

    /// In state `Reconnecting`: when the next attempt is to be, if there is to be one.
    /// The session is to be told what that means, and then [`Path::plan`] to follow.
    pub(super) fn next_attempt(&self, work: &mut Reconnect) -> (Option<Delta>, PathAvailability) {
        match work.next_delay(self.session.max_reconnect_attempts()) {
            Some(delay) => (Some(delay), PathAvailability::Connecting),
            None => (None, PathAvailability::Down),
        }
    }

    /// The session may allow fewer attempts than before. Who holds the lock asks it
    /// anew before it plans one.
    pub(super) fn limit_changed(self: &Arc<Self>) {
        let Some(mut work) = self.work.try_lock() else {
            return;
        };
        if self.is_given_up(&mut work) {
            work::reschedule_in::<_, CONNECT>(self, Delta::ZERO);
        }
    }

    /// Whether it waits for an attempt that is not allowed any more.
    pub(super) fn is_given_up(&self, work: &mut Reconnect) -> bool {
        self.state.get() == ClientState::Reconnecting
            && work.exceeds(self.session.max_reconnect_attempts())
    }

    /// Plans the next attempt, or gives up.
    pub(super) fn plan(self: &Arc<Self>, next: Option<Delta>) {
        match next {
            Some(delay) => {
                work::reschedule_in::<_, CONNECT>(self, delay);
            }
            None => {
                pr_warn!("{self}: not connected again, all attempts are used up\n");
                if self.enter(ClientState::Closing).is_ok() {
                    let _ = self.enter(ClientState::Closed);
                }
            }
        }
    }

    /// Takes the path down until [`Path::reconnect`]. Waits for an attempt to
    /// connect to be over, which it ends.
    pub(super) fn disconnect(self: &Arc<Self>) {
        // As long as paths are connected again at all, whoever disconnects this one
        // can be expected to connect it again.
        self.close(match self.session.max_reconnect_attempts() {
            0 => PathAvailability::Down,
            _ => PathAvailability::Connecting,
        });
    }

    fn close(self: &Arc<Self>, standing: PathAvailability) {
        let change = self.enter(ClientState::Closing);
        if change.is_ok() {
            self.interrupt.raise();
            let attempt = self.attempt.lock().clone();
            if let Some(shared) = attempt {
                shared.retire();
            }
        }
        // If it is down already, who is taking it down has this, or had it.
        let _work = self.work.lock();
        if change.is_ok() {
            self.take_down(standing);
            self.interrupt.reset();
            let _ = self.enter(ClientState::Closed);
        }
    }

    /// Connects the path at once, whatever it was waiting for; anew if it is up.
    pub(super) fn reconnect(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock();
        self.enter(ClientState::Reconnecting)
            .or_else(|now| match now {
                ClientState::Reconnecting => Ok(now),
                _ => Err(EBUSY),
            })?;
        work.forget_attempts();
        self.take_down(PathAvailability::Connecting);
        self.connect_again(&mut work)?;
        drop(work);
        match self.bring_in() {
            true => Ok(()),
            false => Err(ECONNRESET),
        }
    }

    /// It was connected again: shows it as what it is now, and makes its session go on.
    /// False if that failed, and the path is given up.
    pub(super) fn bring_in(self: &Arc<Self>) -> bool {
        if let Err(e) = self.session.show(self) {
            pr_warn!("{self}: files not made: {e:?}\n");
        }
        self.session.introduce(self)
    }

    /// One attempt in state `Reconnecting`.
    pub(super) fn connect_again(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        self.enter_from(ClientState::Reconnecting, ClientState::Connecting)
            .map_err(|_| ECANCELED)?;
        let result = self.try_connect(work);
        if let Err(e) = result {
            self.stats.connected(false);
            pr_warn_ratelimited!("{self}: connecting again failed: {e:?}\n");
            self.attempt_failed(work);
        }
        result
    }

    /// The server took the path and knows the devices: the next loss is another matter.
    pub(super) fn settled(&self) {
        self.work.lock().forget_attempts();
    }

    /// The end: after this no task runs and none can be scheduled. Idempotent, and
    /// waits for another one that does it.
    pub(super) fn remove(self: &Arc<Self>) {
        // `reconnect` may come between.
        while self.state.get() != ClientState::Dead {
            self.close(PathAvailability::Down);
            let _ = self.enter(ClientState::Dead);
        }
        self.session.path_changed(self, PathAvailability::Down);
        work::stop_sync::<_, LOST>(self);
        work::stop_sync::<_, CONNECT>(self);
        work::stop_sync::<_, BEAT>(self);
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt_name(f)?;
        f.write_str(" ")?;
        self.fmt_way(f)
    }
}
