// SPDX-License-Identifier: GPL-2.0-only

//! Queues of requests between softirq, where they arrive, and process context, where the service
//! takes them.
//!
//! Each connection has a queue, so CPUs of a client that use different connections do not contend
//! here. The work item that drains the queue always runs: the teardown of a path waits for the
//! requests first, and then stops the work item.

use kernel::{
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLockIrq, //
    }, //
};

use rnbd_proto::limits::QueueDepth;

use crate::{
    impl_has_owned_work,
    kernel_ext::{
        work::{
            self,
            OwnedWork,
            OwnedWorkItem, //
        },
        workqueue::WorkqueueHandle, //
    },
    new_owned_work, //
};

const DISPATCH: u64 = 0;

/// A request that a [`DispatchQueue`] takes to process context.
pub(super) trait Dispatch: Send + Sized + 'static {
    /// Hands the request to the service. Process context.
    fn dispatch(self);

    /// Gives the request up and closes its path. Any context.
    fn refuse(self, why: &str);
}

/// The requests of one connection that are ready for the service.
///
/// Lock order: `batch`, then `ready`.
#[pin_data]
pub(super) struct DispatchQueue<R> {
    /// Has capacity for all chunks.
    #[pin]
    ready: SpinLockIrq<KVec<R>>,
    /// The requests that the work item hands over; has the same capacity.
    #[pin]
    batch: Mutex<KVec<R>>,
    #[pin]
    work: OwnedWork<Self, DISPATCH>,
}

impl_has_owned_work! {
    impl{R: Dispatch} HasOwnedWork<DISPATCH> for DispatchQueue<R> { self.work }
}

impl<R: Dispatch> DispatchQueue<R> {
    /// Creates an empty queue for `depth` requests, whose work item runs on `requests`.
    pub(super) fn new(depth: QueueDepth, requests: &WorkqueueHandle) -> Result<Arc<Self>> {
        let empty = || KVec::with_capacity(depth.get().into(), GFP_KERNEL);
        let (ready, batch) = (empty()?, empty()?);

        Arc::pin_init(
            pin_init!(Self {
                ready <- new_spinlock_irq!(ready, "rtrs_dispatch"),
                batch <- new_mutex!(batch, "rtrs_dispatch_batch"),
                work <- new_owned_work!(requests.clone(), "rtrs_server_requests"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a request. Any context: the response to one request can start the next one in the
    /// same chunk.
    pub(super) fn push(self: &Arc<Self>, request: R) {
        let mut ready = self.ready.lock();
        let first = ready.is_empty();
        let pushed = ready.push_within_capacity(request);
        drop(ready);

        match pushed {
            Ok(()) if first => {
                work::schedule::<_, DISPATCH>(self);
            }
            Ok(()) => {}
            // Cannot happen: there is capacity for every chunk. The client gets no response.
            Err(full) => full.0.refuse("more requests than chunks"),
        }
    }

    /// Waits until the work item has returned. The queue must be empty and stay so.
    pub(super) fn stop(self: &Arc<Self>) {
        work::stop_sync::<_, DISPATCH>(self);
    }
}

impl<R: Dispatch> OwnedWorkItem<DISPATCH> for DispatchQueue<R> {
    fn run(this: Arc<Self>) {
        let mut batch = this.batch.lock();
        core::mem::swap(&mut *batch, &mut *this.ready.lock());
        for request in batch.drain_all() {
            request.dispatch();
        }
    }
}
