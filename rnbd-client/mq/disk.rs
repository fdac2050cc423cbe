// SPDX-License-Identifier: GPL-2.0-only

//! Disks that are visible to users.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
    types::ScopeGuard, //
};

use rtrs::kernel_ext::{
    kobject::KobjectRef,
    sysfs::{
        Files,
        SysfsDir, //
    }, //
};

use super::{
    added_disks::disk_added,
    capacity::{
        self,
        DiskCapacity, //
    },
    disk_handle::{
        self,
        DiskHandle,
        NO_PARTITION_SCAN, //
    },
    limits::Limits,
    operations::Operations,
    tag_set::TagSet,
    unadded_disk::UnaddedDisk,
    vtable::VTables, //
};

/// Parameters of a new disk.
pub(crate) struct DiskConfig<'a> {
    /// Name under /dev and /sys/block, at most 31 bytes.
    pub(crate) name: &'a CStr,
    /// Size in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// Writes are refused.
    pub(crate) read_only: bool,
    /// Limits of its queue.
    pub(crate) limits: Limits,
    /// How long a request may take before [`Operations::timed_out`] is called, in milliseconds.
    pub(crate) io_timeout_ms: u32,
}

/// A disk that is visible to users.
///
/// Drop removes the disk, and waits until every accepted request is completed and no callback
/// runs. A task that has it open keeps a dead device.
///
/// # Invariants
///
/// `raw` was added with `device_add_disk`; its `queuedata` and `private_data`
/// point to `device`.
pub(crate) struct Disk<T: Operations> {
    raw: *mut bindings::gendisk,
    /// Directories below the disk's own, removed before it.
    dirs: KVec<SysfsDir>,
    device: Arc<T>,
    tag_set: Arc<TagSet<T>>,
}

// SAFETY: The block layer synchronises all use of a disk.
unsafe impl<T: Operations> Send for Disk<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for Disk<T> {}

impl<T: Operations> Disk<T> {
    /// Creates a disk and makes it visible, by
    /// [`device_add_disk`](srctree/block/genhd.c). Programs that notice it may send requests
    /// before this returns, so `device` must be ready for them. Its partition table is left to
    /// [`DiskHandle::scan_partitions`].
    pub(crate) fn add(
        tag_set: Arc<TagSet<T>>,
        config: &DiskConfig<'_>,
        device: Arc<T>,
    ) -> Result<Self> {
        let sectors = capacity::check(config.sectors)?;
        let timeout = u32::try_from(msecs_to_jiffies(config.io_timeout_ms)).unwrap_or(u32::MAX);
        let data = Arc::as_ptr(&device).cast_mut().cast::<c_void>();

        let unadded = UnaddedDisk::new(&tag_set, config.limits.to_raw()?, data)?;
        let raw = unadded.raw();
        tag_set.disk_added();
        let counted = ScopeGuard::new_with_data(tag_set.clone(), |tag_set| tag_set.disk_removed());
        // SAFETY: The disk is not visible yet, so this is the only reference.
        let disk = unsafe { &mut *raw };
        let name = config.name.to_bytes_with_nul();
        disk.disk_name
            .get_mut(..name.len())
            .ok_or(EINVAL)?
            .copy_from_slice(name);
        // Without a major number of its own, the disk and its partitions get device numbers of
        // `blkext`, as those of NVMe: any number of partitions, and LVM knows them.
        disk.fops = VTables::<T>::DISK;
        disk.private_data = data;
        disk.state |= NO_PARTITION_SCAN;
        // SAFETY: As above.
        unsafe {
            bindings::blk_queue_rq_timeout((*raw).queue, timeout);
            bindings::set_capacity(raw, sectors);
            bindings::set_disk_ro(raw, config.read_only);
        }
        // SAFETY: The disk is complete; `device` and `tag_set` outlive it: they
        // are dropped after it is removed, here on failure or by `Drop`.
        to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), raw, core::ptr::null_mut())
        })?;
        // `free_disk` is called for disks that were added only.
        disk_added();
        // INVARIANT: Added above, with these pointers.
        Ok(Self {
            raw: unadded.into_added(),
            dirs: KVec::new(),
            device,
            tag_set: counted.dismiss(),
        })
    }

    /// Returns the device that the disk was added for.
    pub(crate) fn device(&self) -> &Arc<T> {
        &self.device
    }

    /// Returns a handle to change the disk with.
    pub(crate) fn handle(&self) -> Result<DiskHandle> {
        let disk = NonNull::new(self.raw).ok_or(ENODEV)?;
        // SAFETY: By the type invariant.
        Ok(unsafe { DiskHandle::new(disk) })
    }

    /// Returns a handle to read and set the capacity with.
    pub(crate) fn capacity(&self) -> Result<DiskCapacity> {
        let disk = NonNull::new(self.raw).ok_or(ENODEV)?;
        // SAFETY: By the type invariant.
        Ok(unsafe { DiskCapacity::new(disk) })
    }

    fn raw_kobject(&self) -> NonNull<bindings::kobject> {
        // SAFETY: By the type invariant; `part0` lives as long as the disk.
        unsafe { NonNull::from(&mut (*(*self.raw).part0).bd_device.kobj) }
    }

    /// Returns the kobject of the disk, as the target of links.
    pub(crate) fn kobject(&self) -> KobjectRef {
        // SAFETY: The kobject of a live disk.
        unsafe { KobjectRef::get(self.raw_kobject()) }
    }

    /// Adds a directory of files below `/sys/block/<name>`.
    pub(crate) fn add_dir<D: Send + Sync + 'static>(
        &mut self,
        name: &CStr,
        data: Arc<D>,
        files: &'static Files<D>,
    ) -> Result {
        // SAFETY: `drop` removes the directories in `dirs` before the disk.
        let parent = unsafe { self.kobject().assume_parent()? };
        let dir = SysfsDir::new(&parent, name, data, files)?;
        Ok(self.dirs.push(dir, GFP_KERNEL)?)
    }

    /// Sends a uevent (`KOBJ_ONLINE`): the disk has all its directories.
    pub(crate) fn announce(&self) {
        // An error is ignored: the uevent of adding the disk was sent.
        // SAFETY: The kobject of a live disk.
        unsafe {
            bindings::kobject_uevent(
                self.raw_kobject().as_ptr(),
                bindings::kobject_action_KOBJ_ONLINE,
            )
        };
    }

    /// Calls `f` with the number of openers, under the lock for opening and closing.
    pub(crate) fn with_openers<R>(&self, f: impl FnOnce(u32) -> R) -> R {
        // SAFETY: By the type invariant.
        let mutex = unsafe { &raw mut (*self.raw).open_mutex };
        // SAFETY: The mutex is initialised.
        unsafe { bindings::mutex_lock(mutex) };
        // SAFETY: Locked above.
        unsafe { self.with_openers_locked(f) }
    }

    /// As [`Disk::with_openers`], or returns `None` at once if a task is opening or closing the
    /// disk, which can wait for its I/O.
    pub(crate) fn try_with_openers<R>(&self, f: impl FnOnce(u32) -> R) -> Option<R> {
        // SAFETY: By the type invariant; the mutex is initialised.
        if unsafe { bindings::mutex_trylock(&raw mut (*self.raw).open_mutex) } == 0 {
            return None;
        }
        // SAFETY: Locked above.
        Some(unsafe { self.with_openers_locked(f) })
    }

    /// Passes the number of openers to `f`, and unlocks `open_mutex`.
    ///
    /// # Safety
    ///
    /// The caller has locked `open_mutex`, and hands the lock over.
    unsafe fn with_openers_locked<R>(&self, f: impl FnOnce(u32) -> R) -> R {
        // SAFETY: By the safety requirements.
        let _unlock = ScopeGuard::new(|| unsafe {
            bindings::mutex_unlock(&raw mut (*self.raw).open_mutex);
        });
        // SAFETY: By the type invariant; the count only changes under the lock.
        let openers = unsafe { (*(*self.raw).part0).bd_openers.counter };
        f(openers.unsigned_abs())
    }

    /// Returns whether the disk or a part of it is claimed: by a mounted file system, as swap,
    /// or by another driver. Programs that look at a disk do not claim it.
    pub(crate) fn is_claimed(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { disk_handle::is_claimed(self.raw) }
    }

    /// Fails requests that are submitted from now on, and notifies a mounted file system, by
    /// [`blk_mark_disk_dead`](srctree/block/genhd.c).
    pub(crate) fn mark_dead(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::blk_mark_disk_dead(self.raw) };
    }

    /// Waits until the driver has no request of this disk, for at most about `limit`, and
    /// returns whether it has none. For a driver that fails all new requests at once.
    ///
    /// Tasks can submit meanwhile, unlike with a frozen queue: the driver may be waiting for
    /// an allocation of memory that is only freed by writing to this disk.
    pub(crate) fn wait_idle(&self, limit: Delta) -> bool {
        let step = Delta::from_millis(10);
        let steps = limit.as_nanos() / step.as_nanos();
        for _ in 0..steps {
            let mut idle = true;
            self.for_each_started(|_| idle = false);
            if idle {
                return true;
            }
            fsleep(step);
        }
        false
    }

    /// Calls `f` with the tag of each request that the driver has; see
    /// [`TagSet::for_each_started`].
    pub(crate) fn for_each_started(&self, f: impl FnMut(u32)) {
        // SAFETY: By the type invariant.
        let queue = unsafe { (*self.raw).queue };
        self.tag_set.for_each_started(queue, f);
    }
}

impl<T: Operations> Drop for Disk<T> {
    fn drop(&mut self) {
        self.dirs.clear();
        self.tag_set.disk_removed();
        // SAFETY: By the type invariant. After this no callback is made: the
        // queue is dead and empty, and a removed disk cannot be opened.
        unsafe { bindings::del_gendisk(self.raw) };
        // SAFETY: Drops the reference that this object owns.
        unsafe { bindings::put_disk(self.raw) };
    }
}
