// SPDX-License-Identifier: GPL-2.0-only

//! Disks that are not added yet, or could not be added.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::atomic::{
        atomic_load,
        Acquire, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::{
    operations::Operations,
    tag_set::TagSet, //
};

/// Interval between looks at whether a disk is freed.
const POLL_INTERVAL: Delta = Delta::from_millis(10);

/// A disk that was allocated, and not added.
///
/// Drop puts the disk and waits until it is freed, as freeing a disk that was never added
/// uses its tag set. Another reference delays that: a task that iterated over all disks may
/// have taken one before adding this disk failed.
///
/// # Invariants
///
/// The disk has a queue, and was not added. This object owns a reference to it.
pub(super) struct UnaddedDisk<'a> {
    raw: NonNull<bindings::gendisk>,
    _tag_set: PhantomData<&'a ()>,
}

impl<'a> UnaddedDisk<'a> {
    /// Allocates a disk that uses `tag_set`, by
    /// [`__blk_mq_alloc_disk`](srctree/block/blk-mq.c).
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

    /// Hands the reference over to the caller, which added the disk and has to remove it.
    pub(super) fn into_added(self) -> *mut bindings::gendisk {
        ManuallyDrop::new(self).raw()
    }
}

impl Drop for UnaddedDisk<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        let queue = unsafe { (*self.raw()).queue };
        // SAFETY: The disk holds a reference. A queue that is not dying yields another
        // one, and only the removal of an added disk marks it dying.
        let kept = unsafe { bindings::blk_get_queue(queue) };
        // SAFETY: Drops the reference that this object owns.
        unsafe { bindings::put_disk(self.raw()) };
        if !kept {
            return;
        }
        // SAFETY: Allocated, as a reference is held; changed by atomic operations only.
        // `Acquire` orders this after the disk's use of the tag set, which comes before the
        // disk drops its reference to the queue.
        while unsafe { atomic_load(&raw mut (*queue).refs.refs.counter, Acquire) } > 1 {
            fsleep(POLL_INTERVAL);
        }
        // SAFETY: Drops the reference taken above.
        unsafe { bindings::blk_put_queue(queue) };
    }
}
