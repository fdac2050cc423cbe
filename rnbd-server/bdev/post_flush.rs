// SPDX-License-Identifier: GPL-2.0-only

//! Bios that have completed and whose owner must not be told before the cache of the device is
//! flushed.
//!
//! Bios complete in any context, and submitting one may sleep. So they are put on a list, and
//! a work item submits each once more, as a flush. Neither step allocates memory or takes a
//! lock.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use core::{
    marker::PhantomData,
    ptr,
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rtrs::{
    bindings,
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

use super::bio::{
    self,
    BioOwner, //
};

const WORK: u64 = 0;

/// The bios of one device that wait to be submitted as a flush.
///
/// # Invariants
///
/// `first` is null or a list linked by `bi_next` of bios that [`bio::submit`] submitted for
/// owners of type `T`, that have completed, and that still have their owner. The list owns them.
#[pin_data]
pub(crate) struct PostFlush<T: BioOwner> {
    first: AtomicPtr<bindings::bio>,
    #[pin]
    work: OwnedWork<Self, WORK>,
    _owner: PhantomData<fn(T)>,
}

impl_has_owned_work! {
    impl{T: BioOwner} HasOwnedWork<WORK> for PostFlush<T> { self.work }
}

impl<T: BioOwner> PostFlush<T> {
    /// Creates an empty list. The work runs on `queue`, which must exist as long as bios.
    pub(crate) fn new(queue: WorkqueueHandle) -> Result<Arc<Self>> {
        // INVARIANT: Null.
        Arc::pin_init(
            pin_init!(Self {
                first: AtomicPtr::new(ptr::null_mut()),
                work <- new_owned_work!(queue, "rnbd_server_post_flush"),
                _owner: PhantomData,
            }),
            GFP_KERNEL,
        )
    }

    /// Queues `bio`. From any context.
    ///
    /// # Safety
    ///
    /// `bio` is one that the type invariant allows, and is handed over.
    pub(super) unsafe fn queue(self: Arc<Self>, bio: *mut bindings::bio) {
        let mut first = self.first.load(Relaxed);

        // INVARIANT: By the safety requirements.
        loop {
            // SAFETY: The caller handed the bio over; it is not in the list yet.
            unsafe { (*bio).bi_next = first };
            match self
                .first
                .compare_exchange_weak(first, bio, Release, Relaxed)
            {
                Ok(_) => break,
                Err(other) => first = other,
            }
        }
        // If it is running, it runs again.
        work::schedule::<_, WORK>(&self);
    }
}

impl<T: BioOwner> OwnedWorkItem<WORK> for PostFlush<T> {
    fn run(this: Arc<Self>) {
        // INVARIANT: The whole list is taken out.
        let mut bio = this.first.swap(ptr::null_mut(), Acquire);

        while !bio.is_null() {
            // SAFETY: By the type invariant; the bio is handed over, and not used after that.
            unsafe {
                let next = (*bio).bi_next;

                bio::submit_flush::<T>(bio);
                bio = next;
            }
        }
    }
}
