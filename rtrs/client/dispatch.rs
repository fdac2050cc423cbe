// SPDX-License-Identifier: GPL-2.0-only

//! The way of a request through a session: to the path that the policy chooses,
//! or to the desk while there is none.

use super::io_request::Direction;
use super::io_request::IoRequest;
use super::io_request::Permit;
use super::io_request::Queue;
use super::requeue_list::RequeueError;
use super::session::Session;
use super::session::CONTROL_PERMITS;
use super::session::KICK;
use crate::impl_has_owned_work;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use crate::rdma::payload::LinearPayload;
use crate::rdma::payload::PayloadBox;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::mpath_policy;
use rnbd_proto::mpath_policy::PathLoad;
use rnbd_proto::session_state::SessionState;

/// What became of a request that was to be sent: it may come back.
type Outcome = core::result::Result<(), (IoRequest, Error)>;

/// Until a request that a device had no room for is sent again.
const A_WHILE: Delta = Delta::from_millis(10);

/// Whether a request that failed so may be sent again in a while.
fn will_pass(err: Error) -> bool {
    err == ENOMEM || err == ENOSPC
}

/// How long a control message may take.
const CONTROL_TIMEOUT: Delta = Delta::from_secs(30);

impl Session {
    /// Sends a request with `len` bytes of data and the message of `io`, by the
    /// connections for `queue`. Does not sleep. `io` is told the end, or given back when
    /// there is an error right away. While no path is up but one will be, the request
    /// waits.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` without a path, `EBUSY` when the permit is in use, `EINVAL` or
    /// `EMSGSIZE` for sizes that do not fit, or what the message was refused with.
    /// `ENOMEM` or `ENOSPC` when the device has no room at the moment: the same may be
    /// sent in a while ([`PayloadBox::later`]).
    pub fn submit(
        &self,
        dir: Direction,
        permit: Permit,
        queue: Queue,
        len: u32,
        io: PayloadBox,
    ) -> core::result::Result<(), (PayloadBox, Error)> {
        if len > self.max_io_size() {
            return Err((io, EMSGSIZE));
        }
        if matches!(queue, Queue::Polled(number) if number >= self.nr_poll_queues()) {
            return Err((io, EINVAL));
        }
        let order = IoRequest {
            dir,
            permit,
            queue,
            len,
            control: false,
            moved: false,
            io,
        };
        self.dispatch(order).map_err(|(order, e)| {
            if !will_pass(e) {
                order.trace_error(&self.name(), e);
            }
            (order.io, e)
        })
    }

    /// Ends requests of polled queue `number` that were answered; answers how much
    /// there was to do. Does not sleep.
    pub fn poll(&self, number: u32) -> u32 {
        let section = rcu::read_lock();
        let Some(paths) = self.paths.get(&section) else {
            return 0;
        };
        let links = paths.iter().filter_map(|path| path.link.get(&section));
        links
            .map(|link| link.poll(number))
            .fold(0, u32::saturating_add)
    }

    /// The request of `permit` should have been answered by now, for one more period.
    /// Answers for how many periods it has been in flight where it is now: 0 when it
    /// is not, as it was just answered or waits for a path. Does not sleep.
    pub fn overdue(&self, permit: Permit) -> u32 {
        let section = rcu::read_lock();
        let paths = self.paths.get(&section).into_iter().flatten();
        paths
            .filter_map(|path| path.link.get(&section)?.overdue(permit))
            .max()
            .unwrap_or(0)
    }

    /// Gives up all paths, because of `why`, to be connected again. What is in flight
    /// goes on over them, or fails as for any session without a path. Does not sleep.
    pub fn reset(&self, why: &str) {
        let section = rcu::read_lock();
        let paths = self.paths.get(&section).into_iter().flatten();
        for path in paths {
            path.give_up(why);
        }
    }

    /// Sends a control message and waits for the answer, whose data goes to
    /// `reply`; answers how much of it that is. At most 30 s; killable.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `ECONNABORTED` when the path was lost meanwhile, those of
    /// [`Session::submit`], or what the server answered.
    pub fn call(&self, dir: Direction, msg: &[u8], reply: &mut [u8]) -> Result<usize> {
        let mut last = self.control.lock();
        // It may be in flight still, though who called does not wait any more.
        if let Some(io) = &*last {
            io.wait_over(CONTROL_TIMEOUT)?;
        }
        *last = None;
        let len = u32::try_from(reply.len())?;
        let io = LinearPayload::new(msg, len)?;
        let order = IoRequest {
            dir,
            permit: Permit::new(self.queue_depth().saturating_sub(CONTROL_PERMITS)),
            queue: Queue::Cpu,
            len,
            control: true,
            moved: false,
            io: LinearPayload::launch(&io).ok_or(EBUSY)?,
        };
        self.send(order).map_err(|(_, e)| e)?;
        io.wait_over(CONTROL_TIMEOUT).inspect_err(|_| {
            *last = Some(io.clone());
        })?;
        io.take(reply)?;
        Ok(reply.len())
    }

    /// Tries again to send what is parked; what must not wait any more fails.
    pub fn kick(self: &Arc<Self>) {
        for permit in 0..self.desk.places() {
            if let Some(order) = self.desk.take(permit) {
                self.redirect(order);
            }
        }
    }

    /// Sends a request that was accepted before, or ends it with an error.
    pub(super) fn redirect(self: &Arc<Self>, order: IoRequest) {
        let sent = match order.control {
            true => Err((order, ECONNABORTED)),
            false => self.dispatch(order),
        };
        let kept = sent.or_else(|(order, e)| match will_pass(e) {
            // It was accepted, and the server may be at it: it keeps its permit.
            true => self.keep_for_a_while(order),
            false => Err((order, e)),
        });
        if let Err((order, e)) = kept {
            order.trace_error(&self.name(), e);
            order.io.done(Err(e));
        }
    }

    fn keep_for_a_while(self: &Arc<Self>, mut order: IoRequest) -> Outcome {
        loop {
            match self.desk.park(order, self.desk.view()) {
                Ok(()) => break,
                Err(RequeueError::Ended(order, e)) => return Err((order, e)),
                Err(RequeueError::Outdated(back)) => order = back,
            }
        }
        work::schedule_in::<_, KICK>(self, A_WHILE);
        Ok(())
    }

    fn dispatch(&self, mut order: IoRequest) -> Outcome {
        loop {
            let view = self.desk.view();
            if view.flow() == SessionState::Live {
                match self.send(order) {
                    Err((back, e)) if e == ENOTCONN => order = back,
                    other => return other,
                }
            }
            match self.desk.park(order, view) {
                Ok(()) => return Ok(()),
                Err(RequeueError::Ended(order, e)) => return Err((order, e)),
                Err(RequeueError::Outdated(back)) => order = back,
            }
        }
    }

    /// Sends by the path that the policy chooses; `ENOTCONN` if there is none.
    fn send(&self, mut order: IoRequest) -> Outcome {
        let section = rcu::read_lock();
        let Some(paths) = self.paths.get(&section) else {
            return Err((order, ENOTCONN));
        };
        let policy = self.policy();
        let known = self.desk.known();
        let mut turn = match (paths.len(), self.turns.this()) {
            (0 | 1, _) | (_, None) => 0,
            (_, Some(turn)) => turn.fetch_add(1, Relaxed),
        };
        // A path may be lost after it was chosen.
        for _ in paths {
            let usable = |index: usize| {
                let path = paths.get(index)?;
                let shared = &path.link.get(&section)?.shared;
                let usable = match order.control {
                    true => shared.is_alive(),
                    false => shared.carries_io(known),
                };
                usable.then(|| PathLoad {
                    inflight: path.stats.inflight.load(Relaxed),
                    latency_ns: shared.heartbeat.latency_ns(),
                })
            };
            let chosen = mpath_policy::choose(policy, paths.len(), turn, usable);
            let Some(path) = chosen.and_then(|index| paths.get(index)) else {
                break;
            };
            let Some(link) = path.link.get(&section) else {
                break;
            };
            let moved = order.moved;
            match link.submit(order) {
                Err((back, e)) if e == ENOTCONN => order = back,
                other => {
                    if moved {
                        path.stats.took_over();
                    }
                    return other;
                }
            }
            turn = turn.wrapping_add(1);
        }
        Err((order, ENOTCONN))
    }
}

impl_has_owned_work! { impl HasOwnedWork<KICK> for Session { self.kick } }

impl OwnedWorkItem<KICK> for Session {
    fn run(this: Arc<Self>) {
        this.kick();
    }
}
