// SPDX-License-Identifier: GPL-2.0-only

//! Disks before they are added, and those that could not be.

use super::operations::Operations;
use super::tag_set::TagSet;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::sync::atomic::atomic_load;
use kernel::sync::atomic::Acquire;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// How often to look whether a disk is freed.
const STEP: Delta = Delta::from_millis(10);

/// A disk that was allocated, and not added.
///
/// Dropping it frees it and waits for that, as freeing one that was never added makes use
/// of its tag set; and it is put off while somebody has a reference, such as who looked
/// at all disks when this one could not be added after all.
///
/// # Invariants
///
/// The disk has a queue, and was not added. This holds a reference to it.
pub(super) struct UnaddedDisk<'a> {
    raw: NonNull<bindings::gendisk>,
    _tag_set: PhantomData<&'a ()>,
}

impl<'a> UnaddedDisk<'a> {
    /// Allocates a disk that uses `tag_set`.
    pub(super) fn new<T: Operations>(
        tag_set: &'a TagSet<T>,
        mut limits: bindings::queue_limits,
        data: *mut c_void,
    ) -> Result<Self> {
        // SAFETY: The tag set is set up; `limits` is copied.
        let raw = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                tag_set.raw(),
                &mut limits,
                data,
                kernel::static_lock_class!().as_ptr(),
            )
        })?;
        // INVARIANT: Allocated just above, with a queue.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
            _tag_set: PhantomData,
        })
    }

    pub(super) fn raw(&self) -> *mut bindings::gendisk {
        self.raw.as_ptr()
    }

    /// It was added: the reference is the caller's, as is the duty to remove it.
    pub(super) fn into_added(self) -> *mut bindings::gendisk {
        ManuallyDrop::new(self).raw()
    }
}

impl Drop for UnaddedDisk<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        let queue = unsafe { (*self.raw()).queue };
        // SAFETY: The disk holds a reference. A queue that is not dying gives another
        // one, and it is the removal of an added disk that lets it die.
        let kept = unsafe { bindings::blk_get_queue(queue) };
        // SAFETY: Drops the reference that this object stands for.
        unsafe { bindings::put_disk(self.raw()) };
        if !kept {
            return;
        }
        // SAFETY: Allocated, as there is a reference; changed by atomic operations only.
        // `Acquire`, as what the disk did with the tag set came before it let go.
        while unsafe { atomic_load(&raw mut (*queue).refs.refs.counter, Acquire) } > 1 {
            fsleep(STEP);
        }
        // SAFETY: Drops the reference taken above.
        unsafe { bindings::blk_put_queue(queue) };
    }
}
