// SPDX-License-Identifier: GPL-2.0-only

//! Connecting a path, reconnecting it, and taking it down.
//!
//! All of this takes time, and happens under the mutex `work`, as I/O may be waiting for it.

use core::sync::atomic::Ordering::Relaxed;

use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use rnbd_proto::{
    path_state::ClientState,
    session_state::PathAvailability, //
};

use crate::{
    client::{
        connect::{
            self,
            ConnectParams, //
        },
        endpoints::Endpoints,
        link::Link,
        link_state::LinkState,
        negotiated::PathLimits,
        reconnect::{
            NextAttempt,
            Reconnect, //
        }, //
        scoped_addr::ScopedAddr,
    },
    kernel_ext::{
        killable,
        noio_mutex::NoIoGuard,
        work, //
    },
    pr_warn_ratelimited, //
};

use super::{
    Path,
    CONNECT,
    HEARTBEAT,
    LOST, //
};

/// Further attempts while something that is about to go is in the way, and the delay before each.
const RETRIES: u32 = 4;
const RETRY_DELAY: Delta = Delta::from_millis(250);

impl Path {
    /// Connects a new path.
    ///
    /// On failure the path is as new, or closed if another task closed it.
    pub(in crate::client) fn connect_first(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock();
        if self.state.get() != ClientState::Connecting {
            return Err(ECANCELED);
        }
        self.try_connect(&mut work)
    }

    /// Schedules reconnects of a path whose first attempt failed.
    pub(in crate::client) fn start_reconnecting(self: &Arc<Self>) {
        let mut work = self.work.lock();
        self.attempt_failed(&mut work);
    }

    /// Plans the next attempt, unless another task closes the path. In state `Connecting`.
    fn attempt_failed(self: &Arc<Self>, work: &mut Reconnect) {
        let _ = self.change_state(ClientState::ConnectingErr);
        if self.change_state(ClientState::Reconnecting).is_ok() {
            let (next, availability) = self.next_attempt(work);
            self.set_availability(availability);
            self.schedule_reconnect(next);
        }
    }

    /// Connects: state `Connecting` becomes `Connected`.
    ///
    /// Tries again a few times if the server's machine has a stale connection, which the attempt
    /// has made it close, or if it has a session of this name, which may be an earlier one of
    /// this machine that it is about to close.
    fn try_connect(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        let is_in_the_way = |e: Error| e == ESTALE || e == ENOTUNIQ;
        let mut result = self.try_connect_once(work);
        for _ in 0..RETRIES {
            match result {
                Err(e) if is_in_the_way(e) && self.state.get() == ClientState::Connecting => {}
                _ => break,
            }
            fsleep(RETRY_DELAY);
            result = self.try_connect_once(work);
        }
        if result == Err(ENOTUNIQ) {
            pr_err!("{self}: the server has a session of this name with another machine; choose another name\n");
        }
        result
    }

    /// Makes one attempt to connect.
    fn try_connect_once(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        let link = LinkState::new(self.clone(), self.stats.clone())?;
        *self.attempt.lock() = Some(link.clone());
        let first = !self.owner.has_path_up();
        let recon_count = work.begin_attempt();
        let session = self.owner.params();
        let result = session.sess_name().and_then(|session_name| {
            let src = self.src.as_ref().map(ScopedAddr::resolve).transpose()?;
            let dst = self.dst.resolve()?;
            let params = ConnectParams {
                session_name,
                session_uuid: session.uuid(),
                path_uuid: self.uuid,
                key: session.key(),
                src: src.as_ref(),
                dst: &dst,
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
            KBox::into_inner(link).shut_down(|mut request| {
                request.lost_paths = request.lost_paths.saturating_add(1);
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
        let (next, availability) = self.next_attempt(&mut work);
        self.take_down(availability);
        self.schedule_reconnect(next);
    }

    /// Makes a planned attempt, unless no more are allowed.
    pub(super) fn planned_reconnect(self: &Arc<Self>) {
        let mut work = self.work.lock();
        if self.exceeds_attempts(&mut work) {
            self.set_availability(PathAvailability::Down);
            self.schedule_reconnect(work.withdraw_attempt());
            return;
        }
        if self.connect_again(&mut work).is_err() {
            return;
        }
        if self.report_reconnected(work) {
            // The server took the path and knows the devices: the next loss counts from 0.
            self.work.lock().reset_attempts();
        }
    }

    /// Returns when to make the next attempt, if one is allowed, and the availability until
    /// then, which the session must learn before [`Path::schedule_reconnect`]. In state
    /// `Reconnecting`.
    fn next_attempt(&self, work: &mut Reconnect) -> (NextAttempt, PathAvailability) {
        let next = work.plan_attempt(self.owner.params().max_reconnect_attempts());
        match next {
            NextAttempt::After(_) => (next, PathAvailability::Connecting),
            NextAttempt::NoMore { .. } => (next, PathAvailability::Down),
        }
    }

    /// Applies a lower limit of attempts. If the path is busy, the task that holds `work`
    /// reads the limit before it plans an attempt.
    pub(in crate::client) fn max_attempts_changed(self: &Arc<Self>) {
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

    /// Schedules the next attempt, or gives up if there is none.
    fn schedule_reconnect(self: &Arc<Self>, next: NextAttempt) {
        match next {
            NextAttempt::After(delay) => {
                work::reschedule_in::<_, CONNECT>(self, delay);
            }
            NextAttempt::NoMore { made } => {
                pr_warn!("{self}: giving up after {made} reconnect attempts\n");
                if self.change_state(ClientState::Closing).is_ok() {
                    let _ = self.change_state(ClientState::Closed);
                }
            }
        }
    }

    /// Takes the path down until [`Path::reconnect`]. Ends an attempt to connect and waits
    /// for its end.
    pub(in crate::client) fn disconnect(self: &Arc<Self>) {
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

    /// Connects the path at once, whatever it was waiting for; again if it is up. Waits for
    /// another task that connects it; killable.
    pub(in crate::client) fn reconnect(self: &Arc<Self>) -> Result {
        let mut work = self.work.lock_killable()?;
        self.change_state(ClientState::Reconnecting)
            .or_else(|now| match now {
                ClientState::Reconnecting => Ok(now),
                _ => Err(EBUSY),
            })?;
        work.reset_attempts();
        self.take_down(PathAvailability::Connecting);
        self.connect_again(&mut work)?;
        match self.report_reconnected(work) {
            true => Ok(()),
            false => Err(ECONNRESET),
        }
    }

    /// Tells the session that the path is up again; see [`PathOwner::path_reconnected`]. A task
    /// that kills the path takes `work` before it looks for reports.
    ///
    /// [`PathOwner::path_reconnected`]: super::PathOwner::path_reconnected
    fn report_reconnected(self: &Arc<Self>, work: NoIoGuard<'_, Reconnect>) -> bool {
        self.reports.fetch_add(1, Relaxed);
        drop(work);
        let reopened = self.owner.clone().path_reconnected(self);
        self.reports.fetch_sub(1, Relaxed);
        reopened
    }

    /// Makes one attempt in state `Reconnecting`.
    fn connect_again(self: &Arc<Self>, work: &mut Reconnect) -> Result {
        self.change_state_from(ClientState::Reconnecting, ClientState::Connecting)
            .map_err(|_| ECANCELED)?;
        let result = self.try_connect(work);
        if let Err(e) = result {
            self.stats.connected(false);
            pr_warn_ratelimited!(self => "{self}: reconnect failed: {e:?}\n");
            self.attempt_failed(work);
        }
        result
    }

    /// Makes the path one that is never connected again.
    fn kill(self: &Arc<Self>) {
        // `reconnect` may come in between.
        while self.state.get() != ClientState::Dead {
            self.close(PathAvailability::Down);
            let _ = self.change_state(ClientState::Dead);
        }
    }

    /// Prepares [`Path::shut_down`]: after this neither that nor the removal of the directory
    /// waits for a task that waits for the server to open devices.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task is being killed. The path is down, and can be shut down later.
    pub(in crate::client) fn begin_shut_down(self: &Arc<Self>) -> Result {
        self.kill();
        killable::poll(|| (self.reports.load(Relaxed) == 0).then_some(()))
    }

    /// Ends the path: after this none of its work items runs or can be scheduled. Idempotent;
    /// waits for another task that does it.
    pub(in crate::client) fn shut_down(self: &Arc<Self>) {
        self.kill();
        self.set_availability(PathAvailability::Down);
        work::stop_sync::<_, LOST>(self);
        work::stop_sync::<_, CONNECT>(self);
        work::stop_sync::<_, HEARTBEAT>(self);
    }
}
