// SPDX-License-Identifier: GPL-2.0-only

//! Requests of a device that cannot be submitted at once.
//!
//! Submitting a bio sleeps while its device is frozen or has no free request. The task that
//! dispatches the requests of a connection must not sleep for that: the next ones may be for other
//! devices. So it submits with `REQ_NOWAIT`. A bio that would have had to wait fails with `EAGAIN`
//! instead, and a work item of its device, which may sleep, submits it again. As long as it has
//! any, further requests of the device go there, too, so that none overtakes those that wait for
//! ever. Drivers without `REQ_NOWAIT` may sleep at any time, so all of their requests go there, and
//! so do all requests that the block layer may hold up in spite of it.
//!
//! The work items of all sessions that have a disk open are on a workqueue of the disk, which runs
//! few of them at a time. So a disk that hangs has few workers, however many sessions use it.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};

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

use rtrs::{
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

use crate::block_request::BlockRequest;

const SUBMIT: u64 = 0;

/// The queue of one device.
///
/// Lock order: `batch`, then `waiting`.
#[pin_data]
pub(crate) struct SubmitQueue {
    /// Whether a request that holds back others waits, or is being submitted by the work item.
    busy: AtomicBool,
    /// In order of arrival. Has capacity for all: a session has at most one request per message
    /// id.
    #[pin]
    waiting: SpinLockIrq<KVVec<BlockRequest>>,
    /// The requests that the work item submits; empty otherwise.
    #[pin]
    batch: Mutex<KVVec<BlockRequest>>,
    #[pin]
    work: OwnedWork<Self, SUBMIT>,
}

impl_has_owned_work! {
    impl HasOwnedWork<SUBMIT> for SubmitQueue { self.work }
}

impl SubmitQueue {
    /// Creates the queue of a device of a session with `depth` message ids. The work runs on
    /// `queue`.
    pub(crate) fn new(depth: QueueDepth, queue: WorkqueueHandle) -> Result<Arc<Self>> {
        let empty = || KVVec::with_capacity(depth.get().into(), GFP_KERNEL);
        let (waiting, batch) = (empty()?, empty()?);

        Arc::pin_init(
            pin_init!(Self {
                busy: AtomicBool::new(false),
                waiting <- new_spinlock_irq!(waiting, "rnbd_submit_waiting"),
                batch <- new_mutex!(batch, "rnbd_submit_batch"),
                work <- new_owned_work!(queue, "rnbd_server_submit"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether requests wait, so that further ones have to queue up.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Relaxed)
    }

    /// Adds a request. Any context.
    pub(crate) fn push(self: &Arc<Self>, request: BlockRequest) {
        let mut waiting = self.waiting.lock();
        if request.holds_back_others() {
            self.busy.store(true, Relaxed);
        }
        let pushed = waiting.push_within_capacity(request);
        drop(waiting);

        match pushed {
            // If the work is running, it runs again.
            Ok(()) => {
                work::schedule::<_, SUBMIT>(self);
            }
            // Cannot happen: there is capacity for every message id.
            Err(full) => full.0.fail(EBUSY),
        }
    }
}

impl OwnedWorkItem<SUBMIT> for SubmitQueue {
    fn run(this: Arc<Self>) {
        let mut batch = this.batch.lock();

        core::mem::swap(&mut *batch, &mut *this.waiting.lock());
        for request in batch.drain_all() {
            request.submit_and_sleep();
        }
        let waiting = this.waiting.lock();
        let busy = waiting.iter().any(BlockRequest::holds_back_others);
        this.busy.store(busy, Relaxed);
    }
}
