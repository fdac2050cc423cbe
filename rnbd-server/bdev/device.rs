// SPDX-License-Identifier: GPL-2.0-only

//! An open block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use rtrs::{
    bindings,
    kernel_ext::kobject::Kobject, //
};

use super::{
    limits,
    lookup::{
        InitFs,
        Location, //
    },
    Limits, //
};

/// The access that a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

impl Mode {
    fn as_raw(self) -> bindings::blk_mode_t {
        match self {
            Self::Read => bindings::BLK_OPEN_READ,
            Self::ReadWrite => bindings::BLK_OPEN_READ | bindings::BLK_OPEN_WRITE,
        }
    }
}

/// The number of a device, `dev_t` of C. It does not depend on the path to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DevId(pub(super) bindings::dev_t);

/// Bits of a minor number (`MINORBITS` of C).
const MINOR_BITS: u32 = 20;

impl DevId {
    /// The major number.
    pub(crate) fn major(self) -> u32 {
        self.0 >> MINOR_BITS
    }

    /// The minor number.
    pub(crate) fn minor(self) -> u32 {
        self.0 & ((1 << MINOR_BITS) - 1)
    }
}

/// An open block device, without an exclusive claim.
///
/// Drop closes it. As with `fput`, a worker does so a moment later.
///
/// # Invariants
///
/// `file` is an open block device and this owns a reference to it. `bdev` is its
/// `struct block_device`, which stays the same.
pub(crate) struct BlockDevice {
    file: NonNull<bindings::file>,
    bdev: *mut bindings::block_device,
}

// SAFETY: The file may be put by any task.
unsafe impl Send for BlockDevice {}
// SAFETY: Shared access reads what the block layer allows to be read at any time,
// and submits bios, which any task may do.
unsafe impl Sync for BlockDevice {}

impl BlockDevice {
    /// Opens the device at `location`.
    ///
    /// # Errors
    ///
    /// - `ENOENT` if nothing exists by that name, `ENOTBLK` if it is no block device;
    /// - `EXDEV` if symbolic links that not only root can make lead out of the directory of
    ///   `location`;
    /// - `EACCES` if `mode` is to write and the device is read-only;
    /// - errors of the device's driver.
    pub(crate) fn open(location: &Location<'_>, mode: Mode) -> Result<Self> {
        // The caller may be a kernel thread, whose root directory is empty.
        let _fs = InitFs::enter();
        let inside = location.find_inside()?;

        // SAFETY: The path is a C string; there is no holder, so no
        // holder operations are needed.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(
                location.path().as_char_ptr(),
                mode.as_raw(),
                ptr::null_mut(),
                ptr::null(),
            )
        })?;
        let file = NonNull::new(file).ok_or(ENODEV)?;
        // SAFETY: An open block device.
        let bdev = unsafe { bindings::file_bdev(file.as_ptr()) };
        // INVARIANT: Opened above, and the reference is handed over.
        let device = Self { file, bdev };

        // Of a path that was walked twice, the device must be the one that the walk confined to
        // the directory found.
        if inside.is_some_and(|id| id != device.id()) {
            return Err(EXDEV);
        }
        Ok(device)
    }

    /// The `struct block_device`, valid while the device is open.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::block_device {
        self.bdev
    }

    /// The number of the device.
    pub(crate) fn id(&self) -> DevId {
        // SAFETY: The structure is valid while the device is open; the number never
        // changes.
        DevId(unsafe { (*self.as_raw()).bd_dev })
    }

    /// The name of the device as in `/sys/class/block`.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: As above. A registered device has a name, which is a C string that
        // lives as long as the device: disks and partitions are never renamed.
        unsafe { CStr::from_char_ptr((*self.as_raw()).bd_device.kobj.name) }
    }

    /// The size in sectors of 512 bytes, which may change at any time.
    #[inline]
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: As above. The size changes under a lock that readers of a single
        // word need not take, just as C readers of it do not.
        unsafe { ptr::read_volatile(&raw const (*self.as_raw()).bd_nr_sectors) }
    }

    /// The size of a logical block in bytes.
    #[inline]
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: As above; an open device has a queue.
        unsafe { (*(*self.as_raw()).bd_queue).limits.logical_block_size }
    }

    /// Whether the driver of the device supports [`OpFlag::NOWAIT`](super::OpFlag::NOWAIT).
    #[inline]
    pub(crate) fn supports_nowait(&self) -> bool {
        // SAFETY: As above.
        unsafe { (*(*self.as_raw()).bd_queue).limits.features & bindings::BLK_FEAT_NOWAIT != 0 }
    }

    /// Whether the driver may sleep when it gets a request (`BLK_MQ_F_BLOCKING`), as that of nbd
    /// does until its server reads: in the task that submits the bio,
    /// [`OpFlag::NOWAIT`](super::OpFlag::NOWAIT) or not. Does not change.
    pub(crate) fn driver_sleeps(&self) -> bool {
        // SAFETY: As above. The queue has a set of tags if its driver takes requests, which exists
        // when the device is opened.
        let flags = unsafe {
            let tag_set = (*(*self.as_raw()).bd_queue).tag_set;

            tag_set.as_ref().map_or(0, |tag_set| tag_set.flags)
        };

        flags & bindings::BLK_MQ_F_BLOCKING != 0
    }

    /// Whether the device supports write zeroes, as its limits say at present.
    pub(crate) fn writes_zeroes(&self) -> bool {
        // SAFETY: As above.
        unsafe { (*(*self.as_raw()).bd_queue).limits.max_write_zeroes_sectors != 0 }
    }

    /// Whether the device has a volatile write cache at present, as `bdev_write_cache` of C.
    #[inline]
    pub(crate) fn write_cache(&self) -> bool {
        // SAFETY: As above. Limits change while the queue is frozen; readers of single words
        // take no lock, as in the block layer itself.
        let (features, flags) = unsafe {
            let limits = &raw const (*(*self.as_raw()).bd_queue).limits;

            (
                (&raw const (*limits).features).read_volatile(),
                (&raw const (*limits).flags).read_volatile(),
            )
        };

        limits::write_cache(features, flags)
    }

    /// Whether the device cannot be written at present, though it may be open for writing.
    #[inline]
    pub(crate) fn read_only(&self) -> bool {
        // SAFETY: The structure is valid while the device is open; the function reads flags.
        unsafe { bindings::bdev_read_only(self.as_raw()) }
    }

    /// Whether this machine uses the device, or the disk that it is a partition of, or a
    /// partition of it: as a mounted file system, swap space, or a member of a volume.
    ///
    /// Only users that claim it are seen, as these do. A claim can come and go at any time.
    pub(crate) fn is_claimed(&self) -> bool {
        // SAFETY: The structure is valid while the device is open, as are its disk and the
        // table of partitions.
        unsafe { bindings::rtrs_bdev_is_claimed(self.as_raw()) }
    }

    /// The current limits of the device.
    pub(crate) fn limits(&self) -> Limits {
        // SAFETY: The structure is valid while the device is open.
        unsafe { Limits::of(self.as_raw()) }
    }
}

// SAFETY: An open device holds a reference to its disk, which contains the kobject.
unsafe impl Kobject for BlockDevice {
    /// The disk, also when the device is a partition of it.
    fn as_kobj(&self) -> *mut bindings::kobject {
        // SAFETY: An open device has a disk, which has a device for the whole of it.
        unsafe {
            let disk = (*self.as_raw()).bd_disk;

            &raw mut (*(*disk).part0).bd_device.kobj
        }
    }
}

impl Drop for BlockDevice {
    fn drop(&mut self) {
        // SAFETY: Gives back the reference owned by the type invariant.
        unsafe { bindings::bdev_fput(self.file.as_ptr()) };
    }
}
