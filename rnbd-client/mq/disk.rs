// SPDX-License-Identifier: GPL-2.0-only

//! Disks.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::capacity;
use super::capacity::DiskCapacity;
use super::limits::Limits;
use super::major::disk_born;
use super::operations::Operations;
use super::operations::Tables;
use super::tag_set::TagSet;
use super::unadded_disk::UnaddedDisk;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use kernel::types::ScopeGuard;
use rtrs::kernel_ext::kobject::KobjectRef;
use rtrs::kernel_ext::sysfs::Files;
use rtrs::kernel_ext::sysfs::SysfsDir;

/// What a disk is made of.
pub(crate) struct DiskConfig<'a> {
    /// Major number of the device.
    pub(crate) major: u32,
    /// First minor number.
    pub(crate) first_minor: u32,
    /// Number of minors: the whole device and its partitions.
    pub(crate) minors: u32,
    /// Name under /dev and /sys/block, at most 31 bytes.
    pub(crate) name: &'a CStr,
    /// Size in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// Nobody may write.
    pub(crate) read_only: bool,
    /// Limits of its queue.
    pub(crate) limits: Limits,
}

/// A disk that is visible to users.
///
/// Dropping it removes it: waits until every request that was accepted is done
/// and no callback runs. Those who have it open keep a dead device.
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
    /// Creates a disk and makes it visible. The kernel reads its partition
    /// table before this returns, so `device` has to be ready for requests.
    pub(crate) fn add(
        tag_set: Arc<TagSet<T>>,
        config: &DiskConfig<'_>,
        device: Arc<T>,
    ) -> Result<Self> {
        let major = c_int::try_from(config.major)?;
        let first_minor = c_int::try_from(config.first_minor)?;
        let minors = c_int::try_from(config.minors)?;
        let sectors = capacity::check(config.sectors)?;
        let data = Arc::as_ptr(&device).cast_mut().cast::<c_void>();

        let unadded = UnaddedDisk::new(&tag_set, config.limits.to_raw()?, data)?;
        let raw = unadded.raw();
        // SAFETY: Nobody else sees the disk yet.
        let disk = unsafe { &mut *raw };
        let name = config.name.to_bytes_with_nul();
        disk.disk_name
            .get_mut(..name.len())
            .ok_or(EINVAL)?
            .copy_from_slice(name);
        disk.major = major;
        disk.first_minor = first_minor;
        disk.minors = minors;
        disk.fops = Tables::<T>::DISK;
        disk.private_data = data;
        // SAFETY: As above.
        unsafe {
            bindings::set_capacity(raw, sectors);
            bindings::set_disk_ro(raw, config.read_only);
        }
        // SAFETY: The disk is complete; `device` and `tag_set` outlive it: they
        // are dropped after it was removed, here on failure or by `Drop`.
        to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), raw, core::ptr::null_mut())
        })?;
        // `free_disk` is called for disks that were added only.
        disk_born();
        // INVARIANT: Added above, with these pointers.
        Ok(Self {
            raw: unadded.into_added(),
            dirs: KVec::new(),
            device,
            tag_set,
        })
    }

    /// The driver's side of it.
    pub(crate) fn device(&self) -> &Arc<T> {
        &self.device
    }

    /// Its size.
    pub(crate) fn size(&self) -> Result<DiskCapacity> {
        let disk = NonNull::new(self.raw).ok_or(ENODEV)?;
        // SAFETY: By the type invariant.
        Ok(unsafe { DiskCapacity::of(disk) })
    }

    fn kobject(&self) -> NonNull<bindings::kobject> {
        // SAFETY: By the type invariant; `part0` lives as long as the disk.
        unsafe { NonNull::from(&mut (*(*self.raw).part0).bd_device.kobj) }
    }

    /// The disk as the target of links.
    pub(crate) fn kobj(&self) -> KobjectRef {
        // SAFETY: The kobject of a live disk.
        unsafe { KobjectRef::get(self.kobject()) }
    }

    /// Adds a directory of files below `/sys/block/<name>`.
    pub(crate) fn add_dir<D: Send + Sync + 'static>(
        &mut self,
        name: &CStr,
        data: Arc<D>,
        files: &'static Files<D>,
    ) -> Result {
        // SAFETY: `drop` removes what is in `dirs` before the disk.
        let parent = unsafe { self.kobj().assume_parent()? };
        let dir = SysfsDir::new(&parent, name, data, files)?;
        Ok(self.dirs.push(dir, GFP_KERNEL)?)
    }

    /// Tells user space that the disk is complete with all its directories.
    pub(crate) fn announce(&self) {
        // A lost event is not worth a failure: the first one, of adding the
        // disk, was sent.
        // SAFETY: The kobject of a live disk.
        unsafe {
            bindings::kobject_uevent(
                self.kobject().as_ptr(),
                bindings::kobject_action_KOBJ_ONLINE,
            )
        };
    }

    /// Calls `f` with the number of openers while none can come or go.
    pub(crate) fn with_openers<R>(&self, f: impl FnOnce(u32) -> R) -> R {
        // SAFETY: By the type invariant.
        let mutex = unsafe { &raw mut (*self.raw).open_mutex };
        // SAFETY: The mutex is initialised.
        unsafe { bindings::mutex_lock(mutex) };
        // SAFETY: Locked above.
        let _unlock = ScopeGuard::new(|| unsafe { bindings::mutex_unlock(mutex) });
        // SAFETY: By the type invariant; the count only changes under the lock.
        let openers = unsafe { (*(*self.raw).part0).bd_openers.counter };
        f(openers.unsigned_abs())
    }

    /// Fails what is submitted from now on, and tells a mounted file system.
    pub(crate) fn mark_dead(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::blk_mark_disk_dead(self.raw) };
    }

    /// Waits until the driver has no request of this disk, as it happens when it ends
    /// them as soon as it gets them; at most about `limit`. Says whether it has none.
    ///
    /// Others can submit meanwhile, unlike with a frozen queue: what the driver waits for
    /// may be in need of memory that this disk is to be written to for.
    pub(crate) fn wait_idle(&self, limit: Delta) -> bool {
        let step = Delta::from_millis(10);
        let steps = limit.as_nanos() / step.as_nanos();
        for _ in 0..steps {
            // SAFETY: By the type invariant.
            if self.tag_set.started(unsafe { (*self.raw).queue }) == 0 {
                return true;
            }
            fsleep(step);
        }
        false
    }
}

impl<T: Operations> Drop for Disk<T> {
    fn drop(&mut self) {
        self.dirs.clear();
        // SAFETY: By the type invariant. After this no callback is made: the
        // queue is dead and empty, and a disk that is gone cannot be opened.
        unsafe { bindings::del_gendisk(self.raw) };
        // SAFETY: Drops the reference that this object stands for.
        unsafe { bindings::put_disk(self.raw) };
    }
}
