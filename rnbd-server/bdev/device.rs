// SPDX-License-Identifier: GPL-2.0-only

//! An open block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::ptr;
use core::ptr::NonNull;

use kernel::error::from_err_ptr;
use kernel::prelude::*;
use rtrs::bindings;
use rtrs::kernel_ext::kobject::Kobject;

use super::lookup::InitFs;
use super::lookup::Location;
use super::Limits;

/// What a device is to be opened for.
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

/// Number of a device (`dev_t`): the same by whatever path it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DevId(pub(super) bindings::dev_t);

/// A block device that is open, without a claim on it.
///
/// Drop closes it, in a worker a moment later, as `fput` does.
///
/// # Invariants
///
/// `file` is an open block device and this owns a reference to it.
pub(crate) struct BlockDevice {
    file: NonNull<bindings::file>,
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
    /// - `ENOENT` if there is nothing by that name, `ENOTBLK` if it is something else;
    /// - `EXDEV` if symbolic links lead out of the directory of `location`;
    /// - `EACCES` if `mode` is to write and the device is read-only;
    /// - what the driver of the device says.
    pub(crate) fn open(location: &Location<'_>, mode: Mode) -> Result<Self> {
        // The caller may be a kernel thread, whose root directory is empty.
        let _fs = InitFs::enter();
        let inside = location.find_inside()?;

        // SAFETY: The path is a C string; there is no holder and hence no need of
        // operations of one.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(
                location.path().as_char_ptr(),
                mode.as_raw(),
                ptr::null_mut(),
                ptr::null(),
            )
        })?;
        // INVARIANT: Opened above, and the reference is handed over.
        let device = Self {
            file: NonNull::new(file).ok_or(ENODEV)?,
        };

        // The path was walked twice. What counts is that the device is one that the
        // walk inside of the directory has come to.
        if inside.is_some_and(|id| id != device.id()) {
            return Err(EXDEV);
        }
        Ok(device)
    }

    /// The device's structure, valid as long as it is open.
    pub(super) fn as_raw(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariant.
        unsafe { bindings::file_bdev(self.file.as_ptr()) }
    }

    /// Number of the device.
    pub(crate) fn id(&self) -> DevId {
        // SAFETY: The structure is valid while the device is open; the number never
        // changes.
        DevId(unsafe { (*self.as_raw()).bd_dev })
    }

    /// Name of the device as in `/sys/class/block`.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: As above. A registered device has a name, which is a C string that
        // lives as long as the device: disks and partitions are never renamed.
        unsafe { CStr::from_char_ptr((*self.as_raw()).bd_device.kobj.name) }
    }

    /// Size in sectors of 512 bytes, which may change at any time.
    #[inline]
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: As above. The size changes under a lock that readers of a single
        // word need not take, just as C readers of it do not.
        unsafe { ptr::read_volatile(&raw const (*self.as_raw()).bd_nr_sectors) }
    }

    /// Size of a logical block in bytes.
    #[inline]
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: As above; an open device has a queue.
        unsafe { (*(*self.as_raw()).bd_queue).limits.logical_block_size }
    }

    /// Whether the device can write zeroes, as far as it is known now.
    pub(crate) fn writes_zeroes(&self) -> bool {
        // SAFETY: As above.
        unsafe { (*(*self.as_raw()).bd_queue).limits.max_write_zeroes_sectors != 0 }
    }

    /// What the device can do, as of now.
    pub(crate) fn limits(&self) -> Limits {
        // SAFETY: The structure is valid while the device is open.
        unsafe { Limits::of(self.as_raw()) }
    }
}

// SAFETY: An open device keeps its disk, and the disk the kobject inside of it.
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
