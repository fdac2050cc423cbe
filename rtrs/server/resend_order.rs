// SPDX-License-Identifier: GPL-2.0-only

//! The order of the copies of a request that come over different paths of a
//! session; see [`rnbd_proto::resend_order`].
//!
//! A request takes its lane when it arrives, not when the service gets it: until
//! then it may lie in the inbox of a path whose client has gone on with another
//! one, and what it would write then may be newer than what is in it.
//!
//! Who enters and leaves a lane that is not contended takes no lock. A request
//! that must wait is kept here until the one before it has ended, which may be
//! in interrupt context; then a task of the session hands it to the service.

use kernel::new_mutex;
use kernel::new_spinlock_irq;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SetOnce;
use kernel::sync::SpinLockIrq;
use rnbd_proto::limits::BufId;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::resend_order::ResendOrder;
use rnbd_proto::resend_order::ResendWaiter;
use rnbd_proto::resend_order::WaitOutcome;

use super::chunk::Chunk;
use super::conn::Conn;
use super::path::Path;
use super::request::Request;
use super::session::Session;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use crate::rdma::op::HeldOp;

/// The task of a session that serves requests which waited.
pub(super) const SERVE: u64 = 0;

/// Neighbours are used by different CPUs.
#[repr(align(64))]
struct Apart(ResendOrder);

/// A request that arrived and may have to wait for its lane.
///
/// Dropping it gives up the chunk, and with it perhaps the last reference that
/// keeps the path: not to be done outside of this file.
pub(super) struct Arrived {
    chunk: HeldOp<Chunk>,
    conn: Arc<Conn>,
    /// Where its message is in the chunk.
    offset: u32,
}

/// A request that has its lane: no other one of its message id is with the service
/// until it was [handed over](Self::hand_over) and executed.
pub(super) struct Entered(Arrived);

impl Arrived {
    pub(super) fn new(chunk: HeldOp<Chunk>, conn: Arc<Conn>, offset: u32) -> Self {
        Self {
            chunk,
            conn,
            offset,
        }
    }

    /// Closes its path, as it is not going to be served.
    fn give_up(self, why: &str) {
        // As at the end of a request: its references are not the last ones.
        let _section = rcu::read_lock();
        let Self { chunk, conn, .. } = self;
        let id = chunk.id().get();
        drop(chunk);
        conn.path.fail(fmt!("message id {id}: {why}"));
        conn.path.chunk_returned();
    }
}

impl Entered {
    /// Puts it in the inbox of its connection, `conn`, which hands it over.
    fn put(self, conn: &Conn) {
        match conn.path.inbox(conn.id) {
            Some(inbox) => inbox.put(self),
            // Cannot be: a path has its inboxes before its client may send requests.
            None => self.refuse("no inbox"),
        }
    }

    /// Closes its path. In any context.
    pub(super) fn refuse(self, why: &str) {
        // The session goes after its paths, and this one has a chunk in use until then.
        self.0.conn.path.session.executed(self.0.chunk.id());
        self.0.give_up(why);
    }

    /// Gives it to the service. If its path is going that is for nothing, as the client
    /// sends it over another one or has given it up, and the lane is left again.
    ///
    /// Process context; the caller is one that the teardown of the path waits for after
    /// it has waited for the chunks.
    pub(super) fn hand_over(self) {
        let Arrived {
            mut chunk,
            conn,
            offset,
        } = self.0;
        let path = conn.path.clone();
        match (chunk.read(offset), path.service.as_ref()) {
            _ if path.is_closing() => {}
            (Ok(request), Some(service)) => {
                path.stats.arrived(&request);
                return service.request(Request::new(chunk, conn, request));
            }
            (Ok(_), None) => {}
            (Err(reason), _) => path.fail(fmt!("malformed request: {}", Plain(reason))),
        }
        path.session.executed(chunk.id());
        drop(chunk);
        path.chunk_returned();
    }
}

/// The lanes of a session.
#[pin_data]
pub(super) struct ResendOrders {
    /// By message id; there once a path is being set up.
    lanes: SetOnce<KVVec<Apart>>,
    /// By message id.
    #[pin]
    waiting: SpinLockIrq<KVVec<ResendWaiter<Arrived>>>,
    /// Held while requests that waited are handed to the service.
    #[pin]
    serving: Mutex<()>,
}

impl ResendOrders {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lanes: SetOnce::new(),
            waiting <- new_spinlock_irq!(KVVec::new(), "rtrs_lanes_waiting"),
            serving <- new_mutex!((), "rtrs_lanes_serving"),
        })
    }

    /// Makes the lanes, if no other path did.
    pub(super) fn prepare(&self, depth: QueueDepth) -> Result {
        if self.lanes.as_ref().is_some() {
            return Ok(());
        }
        let count = depth.get().into();
        let mut lanes = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut places = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            lanes.push(Apart(ResendOrder::new()), GFP_KERNEL)?;
            places.push(ResendWaiter::new(), GFP_KERNEL)?;
        }
        let mut waiting = self.waiting.lock();
        // Another path may have been quicker.
        if self.lanes.populate(lanes) {
            *waiting = places;
        }
        Ok(())
    }

    fn lane(&self, id: BufId) -> Option<&ResendOrder> {
        self.lanes.as_ref()?.get(id.index()).map(|apart| &apart.0)
    }

    /// Sends a request on its way to the service as soon as no other of its id is there:
    /// now, or later by the task. In a completion of its path; it came by `conn`.
    pub(super) fn submit(&self, conn: &Conn, arrived: Arrived) {
        let id = arrived.chunk.id();
        let Some(lane) = self.lane(id) else {
            return arrived.give_up("out of range");
        };
        if lane.enter() {
            return Entered(arrived).put(conn);
        }
        if arrived.conn.path.is_closing() {
            // It must not take the place of one that can still be answered.
            return arrived.give_up("too late");
        }
        let mut waiting = self.waiting.lock();
        let Some(place) = waiting.get_mut(id.index()) else {
            drop(waiting);
            return arrived.give_up("out of range");
        };
        let wait = lane.wait(place, arrived);
        drop(waiting);
        match wait {
            WaitOutcome::Entered(arrived) => Entered(arrived).put(conn),
            WaitOutcome::Waits => {}
            WaitOutcome::Replaced(old) => old.give_up("used again over another path"),
        }
    }

    /// A request was executed. In any context. Whether another one waits, which
    /// is for the task.
    #[must_use]
    pub(super) fn leave(&self, id: BufId) -> bool {
        self.lane(id).is_some_and(ResendOrder::leave)
    }

    fn serve(&self) {
        let _serving = self.serving.lock();
        let lanes = self.lanes.as_ref().into_iter().flatten();
        for (index, Apart(lane)) in lanes.enumerate() {
            if !lane.is_ready() {
                continue;
            }
            let mut waiting = self.waiting.lock();
            let next = waiting.get_mut(index).and_then(|place| lane.take(place));
            drop(waiting);
            if let Some(arrived) = next {
                Entered(arrived).hand_over();
            }
        }
    }

    /// Takes out what waits of `path`. To be called by its teardown, when its completions
    /// are over, so that nothing begins to wait any more.
    pub(super) fn withdraw(&self, path: &Arc<Path>) {
        let lanes = self.lanes.as_ref().into_iter().flatten();
        for (index, Apart(lane)) in lanes.enumerate() {
            let mut waiting = self.waiting.lock();
            let gone = waiting.get_mut(index).and_then(|place| {
                lane.withdraw(place, |waiter| Arc::ptr_eq(&waiter.conn.path, path))
            });
            drop(waiting);
            // The caller has a reference of the path, so that of the request is
            // not the last one.
            drop(gone);
        }
    }

    /// Waits until the task has returned from the service.
    pub(super) fn await_task(&self) {
        drop(self.serving.lock());
    }
}

impl OwnedWorkItem<SERVE> for Session {
    fn run(this: Arc<Self>) {
        this.lanes.serve();
    }
}

impl Session {
    /// A request that had message id `id` was executed: the next one may be. In
    /// any context.
    pub(super) fn executed(self: &Arc<Self>, id: BufId) {
        if self.lanes.leave(id) {
            work::schedule::<_, SERVE>(self);
        }
    }
}
