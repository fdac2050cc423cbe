// SPDX-License-Identifier: GPL-2.0-only

//! A handle to change a disk that is in use: limits of its queue, whether it can be written;
//! and to send uevents for it.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::{
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::{
    Limits,
    LiveLimits, //
};

/// State of a disk whose partition table is not read when it is added.
pub(super) const NO_PARTITION_SCAN: usize = 1 << bindings::GD_SUPPRESS_PART_SCAN;

/// State of a disk whose partition table is read when it is opened next.
const PARTITION_SCAN_DUE: usize = 1 << bindings::GD_NEED_PART_SCAN;

/// Returns whether `disk` or a part of it is claimed.
///
/// # Safety
///
/// `disk` is valid.
pub(super) unsafe fn is_claimed(disk: *const bindings::gendisk) -> bool {
    // SAFETY: As the caller promises; an integer that changes under a lock of the block layer.
    unsafe { (&raw const (*(*disk).part0).bd_holders).read_volatile() > 0 }
}

/// Most variables of a uevent.
const MAX_VARIABLES: usize = 4;

/// Keeps the memory of a disk allocated, but does not keep the disk from being removed.
///
/// # Invariants
///
/// Owns a reference to the disk, which has a queue.
pub(crate) struct DiskHandle(NonNull<bindings::gendisk>);

// SAFETY: The block layer synchronises all use of a disk.
unsafe impl Send for DiskHandle {}
// SAFETY: As above.
unsafe impl Sync for DiskHandle {}

impl DiskHandle {
    /// # Safety
    ///
    /// `disk` is valid and has a queue.
    pub(super) unsafe fn new(disk: NonNull<bindings::gendisk>) -> Self {
        // SAFETY: By the safety requirement; `part0` lives as long as the disk.
        unsafe { bindings::get_device(&raw mut (*(*disk.as_ptr()).part0).bd_device) };
        // INVARIANT: The reference is taken above.
        Self(disk)
    }

    fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: By the type invariant.
        unsafe { &raw mut (*(*self.0.as_ptr()).part0).bd_device.kobj }
    }

    /// Changes the limits of the queue, by
    /// [`queue_limits_commit_update_frozen`](srctree/block/blk-settings.c). Waits until no
    /// request is in flight; new ones wait meanwhile. Other limits stay as they are.
    ///
    /// # Errors
    ///
    /// `EINVAL` for limits that the block layer does not accept.
    pub(crate) fn set_limits(&self, new: &LiveLimits) -> Result {
        self.change_limits(|limits| {
            new.set_in(limits);
            Ok(())
        })
    }

    /// Changes the limits of the queue as `change` does, unless that fails.
    fn change_limits(&self, change: impl FnOnce(&mut bindings::queue_limits) -> Result) -> Result {
        // SAFETY: By the type invariant. The lock, which the commit releases, is initialised
        // with the queue; the limits do not change while it is held.
        unsafe {
            let queue = (*self.0.as_ptr()).queue;

            bindings::mutex_lock(&raw mut (*queue).limits_lock);
            let mut limits = ptr::read(&raw const (*queue).limits);
            if let Err(err) = change(&mut limits) {
                bindings::mutex_unlock(&raw mut (*queue).limits_lock);
                return Err(err);
            }
            to_result(bindings::queue_limits_commit_update_frozen(
                queue,
                &mut limits,
            ))
        }
    }

    /// Changes the limits that are not live, if no task has the disk open, and returns whether it
    /// did. With another size of blocks, in which the partition table counts, the disk has no
    /// partitions until it is opened next, when the block layer reads the table.
    ///
    /// # Errors
    ///
    /// As [`Self::set_limits`].
    pub(crate) fn set_unopened_limits(&self, new: &Limits) -> Result<bool> {
        // SAFETY: By the type invariant; the mutex is initialised.
        if unsafe { bindings::mutex_trylock(&raw mut (*self.0.as_ptr()).open_mutex) } == 0 {
            return Ok(false);
        }
        let result = match self.is_open() {
            true => Ok(false),
            false => self.set_fixed_limits(new).map(|()| true),
        };
        // SAFETY: Locked above.
        unsafe { bindings::mutex_unlock(&raw mut (*self.0.as_ptr()).open_mutex) };
        result
    }

    /// Changes the limits that are not live. To be called with `open_mutex` while no task has the
    /// disk open, so that there is no request for which this would wait.
    fn set_fixed_limits(&self, new: &Limits) -> Result {
        let mut old_blocks = 0;

        self.change_limits(|limits| {
            old_blocks = limits.logical_block_size;
            new.set_fixed_in(limits)?;
            // The block layer has raised it to the size of a physical block.
            limits.discard_granularity = new.live.discard_granularity;
            Ok(())
        })?;
        if new.logical_block_size != old_blocks {
            self.forget_partitions();
        }
        Ok(())
    }

    /// Removes the partitions, and has the table be read when the disk is opened next. Were they
    /// left for that, a task that opens one of them would get the one that is about to be
    /// replaced. To be called with `open_mutex` while no task has the disk open.
    fn forget_partitions(&self) {
        // SAFETY: By the type invariant and as the caller promises; all changes of the state of an
        // added disk are atomic. The function checks whether the disk was removed.
        unsafe {
            let disk = self.0.as_ptr();
            let state = AtomicUsize::from_ptr(&raw mut (*disk).state);

            // The table is not read now: the server may not have opened the device yet.
            state.fetch_or(NO_PARTITION_SCAN, Relaxed);
            // It fails for a disk that was removed.
            let _ = bindings::bdev_disk_changed(disk, false);
            state.fetch_and(!NO_PARTITION_SCAN, Relaxed);
            state.fetch_or(PARTITION_SCAN_DUE, Relaxed);
        }
    }

    /// Returns whether a task has the disk or a part of it open.
    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: By the type invariant; an integer that changes under `open_mutex`.
        let openers =
            unsafe { (&raw const (*(*self.0.as_ptr()).part0).bd_openers.counter).read_volatile() };
        openers > 0
    }

    /// As [`super::Disk::is_claimed`].
    pub(crate) fn is_claimed(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { is_claimed(self.0.as_ptr()) }
    }

    /// Makes the disk read-only or writable, and sends a uevent if that changes it, by
    /// [`set_disk_ro`](srctree/block/genhd.c).
    pub(crate) fn set_read_only(&self, read_only: bool) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_disk_ro(self.0.as_ptr(), read_only) };
    }

    /// Reads the partition table and adds the partitions, by
    /// [`bdev_disk_changed`](srctree/block/partitions/core.c). Takes as long as the I/O of the
    /// disk. Without effect once the disk is removed, which waits until this has returned.
    pub(crate) fn scan_partitions(&self) {
        // SAFETY: By the type invariant. All changes of the state of an added disk are atomic.
        // The mutex is initialised; the disk is used under it, after a check whether it was
        // removed, by the called function.
        unsafe {
            let disk = self.0.as_ptr();

            AtomicUsize::from_ptr(&raw mut (*disk).state).fetch_and(!NO_PARTITION_SCAN, Relaxed);
            bindings::mutex_lock(&raw mut (*disk).open_mutex);
            // An error is in the log of the kernel; the disk has no partitions then.
            bindings::bdev_disk_changed(disk, false);
            bindings::mutex_unlock(&raw mut (*disk).open_mutex);
        }
    }

    /// Sends a uevent that the disk has changed, with variables of the form `NAME=value`.
    /// Variables beyond the fourth are left out.
    pub(crate) fn announce_change(&self, variables: &[&CStr]) {
        let mut envp = [ptr::null_mut(); MAX_VARIABLES + 1];

        for (slot, variable) in envp.iter_mut().take(MAX_VARIABLES).zip(variables) {
            *slot = variable.as_char_ptr().cast_mut();
        }
        // An error is ignored: a program that needs to know can read the files of the disk.
        //
        // SAFETY: The kobject of a valid disk; the list ends with a null pointer, and its
        // strings are copied.
        unsafe {
            bindings::kobject_uevent_env(
                self.kobject(),
                bindings::kobject_action_KOBJ_CHANGE,
                envp.as_mut_ptr(),
            )
        };
    }

    /// Sends a uevent that the disk works (`KOBJ_ONLINE`), or that it does not (`KOBJ_OFFLINE`).
    pub(crate) fn announce_state(&self, online: bool) {
        let action = match online {
            true => bindings::kobject_action_KOBJ_ONLINE,
            false => bindings::kobject_action_KOBJ_OFFLINE,
        };
        // SAFETY: As above.
        unsafe { bindings::kobject_uevent(self.kobject(), action) };
    }
}

impl Clone for DiskHandle {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant.
        unsafe { Self::new(self.0) }
    }
}

impl Drop for DiskHandle {
    fn drop(&mut self) {
        // SAFETY: Drops the reference that this object owns.
        unsafe { bindings::put_disk(self.0.as_ptr()) };
    }
}
