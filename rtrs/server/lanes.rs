// SPDX-License-Identifier: GPL-2.0-only

//! The order of the copies of a request that come over different paths of a
//! session; see [`rnbd_proto::lane`].
//!
//! Who enters and leaves a lane that is not contended takes no lock. A request
//! that must wait is kept here until the one before it has ended, which may be
//! in interrupt context; then a task of the session hands it to the service.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SetOnce;
use rnbd_proto::lane::Lane;
use rnbd_proto::lane::Place;
use rnbd_proto::lane::Wait;
use rnbd_proto::limits::BufId;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::wire::rtrs;

use super::chunk::Chunk;
use super::conn::Conn;
use super::path::Path;
use super::request::Request;
use super::service::SessionService;
use super::session::Session;
use crate::rdma::op::Idle;
use crate::support::task;
use crate::support::task::TaskItem;

/// The task of a session that serves requests which waited.
pub(super) const SERVE: u64 = 0;

/// Neighbours are used by different CPUs.
#[repr(align(64))]
struct Apart(Lane);

/// A request that arrived, not in the hands of the service yet.
///
/// Dropping it gives up the chunk, and with it perhaps the last reference that
/// keeps the path: not to be done outside of this file.
pub(super) struct Arrived {
    chunk: Idle<Chunk>,
    conn: Arc<Conn>,
    wire: rtrs::Request,
}

impl Arrived {
    pub(super) fn new(chunk: Idle<Chunk>, conn: Arc<Conn>, wire: rtrs::Request) -> Self {
        Self { chunk, conn, wire }
    }

    fn into_request(self) -> Request {
        Request::new(self.chunk, self.conn, self.wire)
    }

    /// Has it served, now that the lane is entered for it. If its path is going
    /// that is for nothing, and the lane is left again.
    fn serve(self) {
        let path = &self.conn.path;
        let service = match path.service.as_ref() {
            Some(service) if !path.is_closing() => Some(service.clone()),
            _ => None,
        };
        let request = self.into_request();
        match service {
            Some(service) => service.request(request),
            None => drop(request),
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

/// The lanes of a session.
#[pin_data]
pub(super) struct Lanes {
    /// By message id; there once a path is being set up.
    lanes: SetOnce<KVVec<Apart>>,
    /// By message id.
    #[pin]
    waiting: Mutex<KVVec<Place<Arrived>>>,
    /// Held while requests that waited are handed to the service.
    #[pin]
    serving: Mutex<()>,
}

impl Lanes {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lanes: SetOnce::new(),
            waiting <- new_mutex!(KVVec::new(), "rtrs_lanes_waiting"),
            serving <- new_mutex!((), "rtrs_lanes_serving"),
        })
    }

    /// Makes the lanes, if no other path did.
    pub(super) fn prepare(&self, depth: QueueDepth) -> Result {
        let mut waiting = self.waiting.lock();
        if self.lanes.as_ref().is_some() {
            return Ok(());
        }
        let count = depth.get().into();
        let mut lanes = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut places = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            lanes.push(Apart(Lane::new()), GFP_KERNEL)?;
            places.push(Place::new(), GFP_KERNEL)?;
        }
        *waiting = places;
        self.lanes.populate(lanes);
        Ok(())
    }

    fn lane(&self, id: BufId) -> Option<&Lane> {
        self.lanes.as_ref()?.get(id.index()).map(|apart| &apart.0)
    }

    /// Hands a request to the service as soon as no other of its id is there:
    /// now, or later by the task.
    pub(super) fn submit(&self, service: &Arc<dyn SessionService>, arrived: Arrived) {
        let id = arrived.chunk.id();
        let Some(lane) = self.lane(id) else {
            return arrived.give_up("out of range");
        };
        if lane.enter() {
            return service.request(arrived.into_request());
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
            Wait::Entered(arrived) => service.request(arrived.into_request()),
            Wait::Waits => {}
            Wait::Replaced(old) => old.give_up("used again over another path"),
        }
    }

    /// A request was executed. In any context. Whether another one waits, which
    /// is for the task.
    #[must_use]
    pub(super) fn leave(&self, id: BufId) -> bool {
        self.lane(id).is_some_and(Lane::leave)
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
                arrived.serve();
            }
        }
    }

    /// Takes out what waits of `path`. To be called by its teardown, when no
    /// request arrives by it any more.
    pub(super) fn withdraw(&self, path: &Arc<Path>) {
        let mut waiting = self.waiting.lock();
        let lanes = self.lanes.as_ref().into_iter().flatten();
        for (Apart(lane), place) in lanes.zip(waiting.iter_mut()) {
            // The caller has a reference of the path, so that of the request is
            // not the last one.
            drop(lane.withdraw(place, |waiter| Arc::ptr_eq(&waiter.conn.path, path)));
        }
    }

    /// Waits until the task has returned from the service.
    pub(super) fn await_task(&self) {
        drop(self.serving.lock());
    }
}

impl TaskItem<SERVE> for Session {
    fn run(this: Arc<Self>) {
        this.lanes.serve();
    }
}

impl Session {
    /// A request that had message id `id` was executed: the next one may be. In
    /// any context.
    pub(super) fn executed(self: &Arc<Self>, id: BufId) {
        if self.lanes.leave(id) {
            task::schedule::<_, SERVE>(self);
        }
    }
}
