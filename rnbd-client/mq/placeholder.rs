// SPDX-License-Identifier: GPL-2.0-only

//! A queue without a disk, so that no disk gets all tags.
//!
//! blk-mq divides the tags of a set evenly among its active queues, and a queue is active from its
//! first request until it has had none for a while. The placeholder is active always, so even a
//! disk that is alone leaves some tags to the others. As the set never has fewer than two queues
//! while it has a disk, no queue has to be frozen when one is added or removed, which would wait
//! for a disk that hangs.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// A queue of a tag set that is active and has no requests.
///
/// # Invariants
///
/// The queue came from `blk_mq_alloc_queue` and was not destroyed.
pub(super) struct Placeholder(NonNull<bindings::request_queue>);

// SAFETY: The block layer synchronises all use of a queue.
unsafe impl Send for Placeholder {}
// SAFETY: As above.
unsafe impl Sync for Placeholder {}

impl Placeholder {
    /// Adds a queue to `set`, by [`blk_mq_alloc_queue`](srctree/block/blk-mq.c).
    ///
    /// # Safety
    ///
    /// `set` must be set up, and outlive the placeholder.
    pub(super) unsafe fn new(set: *mut bindings::blk_mq_tag_set) -> Result<Self> {
        // SAFETY: The set is set up; without limits there are default ones.
        let queue = from_err_ptr(unsafe {
            bindings::blk_mq_alloc_queue(set, core::ptr::null_mut(), core::ptr::null_mut())
        })?;
        // INVARIANT: Allocated just above.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Makes the queue active, by allocating a request and freeing it. To be called when a queue
    /// was added to the set, as blk-mq forgets it while there is no other queue. Only a timer
    /// that starts with a request makes a queue inactive otherwise, and none is ever started.
    pub(super) fn activate(&self) {
        // SAFETY: By the type invariant. The request is not started.
        unsafe {
            let request = bindings::blk_mq_alloc_request(
                self.0.as_ptr(),
                bindings::req_op_REQ_OP_DRV_IN,
                bindings::BLK_MQ_REQ_NOWAIT,
            );
            // Without a free tag the disks are active, and so is this.
            if let Ok(request) = from_err_ptr(request) {
                bindings::blk_mq_free_request(request);
            }
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; it is not used after this.
        unsafe {
            bindings::blk_mq_destroy_queue(self.0.as_ptr());
            bindings::blk_put_queue(self.0.as_ptr());
        }
    }
}
