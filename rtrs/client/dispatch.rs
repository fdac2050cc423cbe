// SPDX-License-Identifier: GPL-2.0-only

//! The way of a request through a session: to the path that the policy chooses,
//! or to the desk while there is none.

use super::desk::Refusal;
use super::order::Dir;
use super::order::Order;
use super::order::Permit;
use super::order::Queue;
use super::session::Session;
use super::session::CONTROL_PERMITS;
use crate::rdma::io::IoBox;
use crate::rdma::io::LinearIo;
use crate::rdma::io::LinearRef;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::time::Delta;
use rnbd_proto::flow::Flow;
use rnbd_proto::policy;
use rnbd_proto::policy::Load;

/// How long a control message may take.
const CONTROL_TIMEOUT: Delta = Delta::from_secs(30);

impl Session {
    /// Sends a request with `len` bytes of data and the message of `io`, by the
    /// connections for `queue`. Does not sleep. `io` is told the end, or given back when there is an error right
    /// away. While no path is up but one will be, the request waits.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` without a path, `EBUSY` when the permit is in use, `EINVAL` or
    /// `EMSGSIZE` for sizes that do not fit, `ENOMEM` when the device has no room,
    /// or what the message was refused with.
    pub fn submit(
        &self,
        dir: Dir,
        permit: Permit,
        queue: Queue,
        len: u32,
        io: IoBox,
    ) -> core::result::Result<(), (IoBox, Error)> {
        if len > self.max_io_size() {
            return Err((io, EMSGSIZE));
        }
        if matches!(queue, Queue::Polled(number) if number >= self.nr_poll_queues()) {
            return Err((io, EINVAL));
        }
        let order = Order {
            dir,
            permit,
            queue,
            len,
            control: false,
            moved: false,
            io,
        };
        self.dispatch(order).map_err(|(order, e)| {
            order.trace_error(&self.name(), e);
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
    pub fn call(&self, dir: Dir, msg: &[u8], reply: &mut [u8]) -> Result<usize> {
        let _one_at_a_time = self.control.lock();
        let len = u32::try_from(reply.len())?;
        let io = LinearIo::new(msg, len)?;
        let order = Order {
            dir,
            permit: Permit::new(self.queue_depth().saturating_sub(CONTROL_PERMITS)),
            queue: Queue::Cpu,
            len,
            control: true,
            moved: false,
            io: IoBox::new(LinearRef(io.clone())),
        };
        self.send(order).map_err(|(_, e)| e)?;
        io.wait(CONTROL_TIMEOUT, reply)?;
        Ok(reply.len())
    }

    /// Tries again to send what is parked; what must not wait any more fails.
    pub fn kick(&self) {
        for permit in 0..self.desk.places() {
            if let Some(order) = self.desk.take(permit) {
                self.redirect(order);
            }
        }
    }

    /// Sends a request that was accepted before, or ends it with an error.
    pub(super) fn redirect(&self, order: Order) {
        let sent = match order.control {
            true => Err((order, ECONNABORTED)),
            false => self.dispatch(order),
        };
        if let Err((order, e)) = sent {
            order.trace_error(&self.name(), e);
            order.io.done(Err(e));
        }
    }

    fn dispatch(&self, mut order: Order) -> core::result::Result<(), (Order, Error)> {
        loop {
            let view = self.desk.view();
            if view.flow() == Flow::Open {
                match self.send(order) {
                    Err((back, e)) if e == ENOTCONN => order = back,
                    other => return other,
                }
            }
            match self.desk.park(order, view) {
                Ok(()) => return Ok(()),
                Err(Refusal::Ended(order, e)) => return Err((order, e)),
                Err(Refusal::Outdated(back)) => order = back,
            }
        }
    }

    /// Sends by the path that the policy chooses; `ENOTCONN` if there is none.
    fn send(&self, mut order: Order) -> core::result::Result<(), (Order, Error)> {
        let section = rcu::read_lock();
        let Some(paths) = self.paths.get(&section) else {
            return Err((order, ENOTCONN));
        };
        let policy = self.policy();
        let mut turn = match (paths.len(), self.turns.this()) {
            (0 | 1, _) | (_, None) => 0,
            (_, Some(turn)) => turn.fetch_add(1, Relaxed),
        };
        // A path may be lost after it was chosen.
        for _ in paths {
            let usable = |index: usize| {
                let path = paths.get(index)?;
                let shared = &path.link.get(&section)?.shared;
                shared.is_alive().then(|| Load {
                    inflight: path.stats.inflight.load(Relaxed),
                    latency_ns: shared.heartbeat.latency_ns(),
                })
            };
            let chosen = policy::choose(policy, paths.len(), turn, usable);
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
