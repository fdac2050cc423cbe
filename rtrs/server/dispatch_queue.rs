// SPDX-License-Identifier: GPL-2.0-only

//! The way of requests from softirq, where connections learn of them, to process
//! context, where the service takes them.
//!
//! Each connection has an inbox, so CPUs of a client that use different ones do not meet
//! here. What is in it has its [lane](super::resend_order) and a reference to the path, and the
//! task that empties it always runs; the path's teardown waits for the requests, then
//! stops the task.

use kernel::new_mutex;
use kernel::new_spinlock_irq;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLockIrq;
use rnbd_proto::limits::QueueDepth;

use super::listen::Shared;
use super::resend_order::Entered;
use crate::impl_has_owned_work;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWork;
use crate::kernel_ext::work::OwnedWorkItem;
use crate::new_owned_work;

const HAND_OVER: u64 = 0;

/// The requests of one connection that can be served.
///
/// Lock order: `batch`, then `ready`.
#[pin_data]
pub(super) struct DispatchQueue {
    /// With room for all chunks.
    #[pin]
    ready: SpinLockIrq<KVec<Entered>>,
    /// Likewise. What the task is at; empty otherwise.
    #[pin]
    batch: Mutex<KVec<Entered>>,
    #[pin]
    task: OwnedWork<Self, HAND_OVER>,
}

impl_has_owned_work! {
    impl HasOwnedWork<HAND_OVER> for DispatchQueue { self.task }
}

impl DispatchQueue {
    /// An empty one.
    pub(super) fn new(shared: &Shared) -> Result<Arc<Self>> {
        let room = |depth: QueueDepth| KVec::with_capacity(depth.get().into(), GFP_KERNEL);
        let depth = shared.limits.queue_depth();
        let (ready, batch) = (room(depth)?, room(depth)?);

        Arc::pin_init(
            pin_init!(Self {
                ready <- new_spinlock_irq!(ready, "rtrs_inbox"),
                batch <- new_mutex!(batch, "rtrs_inbox_batch"),
                task <- new_owned_work!(shared.requests.clone(), "rtrs_server_requests"),
            }),
            GFP_KERNEL,
        )
    }

    /// Puts a request in. In any context: the end of one request can let the next one in
    /// its chunk in.
    pub(super) fn put(self: &Arc<Self>, request: Entered) {
        let mut ready = self.ready.lock();
        let first = ready.is_empty();
        let pushed = ready.push_within_capacity(request);
        drop(ready);

        match pushed {
            Ok(()) if first => {
                work::schedule::<_, HAND_OVER>(self);
            }
            Ok(()) => {}
            // Cannot be: there is room for every chunk. Its client gets no answer.
            Err(full) => full.0.refuse("more requests than chunks"),
        }
    }

    /// Waits until the task has returned. Only when nothing is in it, nor will be.
    pub(super) fn stop(self: &Arc<Self>) {
        work::stop_sync::<_, HAND_OVER>(self);
    }
}

impl OwnedWorkItem<HAND_OVER> for DispatchQueue {
    fn run(this: Arc<Self>) {
        let mut batch = this.batch.lock();
        core::mem::swap(&mut *batch, &mut *this.ready.lock());
        for request in batch.drain_all() {
            request.hand_over();
        }
    }
}
