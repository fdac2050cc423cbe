// SPDX-License-Identifier: GPL-2.0-only

//! The size of a disk, which may change while the disk is in use.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::ptr::NonNull;
use kernel::bindings;
use kernel::prelude::*;

/// Most sectors of a disk: the block layer counts bytes in a signed 64-bit number.
const MAX_SECTORS: u64 = (i64::MAX as u64) >> bindings::SECTOR_SHIFT;

/// Checks a number of sectors. `EFBIG` for one too many.
pub(super) fn check(sectors: u64) -> Result<u64> {
    match sectors {
        0..=MAX_SECTORS => Ok(sectors),
        _ => Err(EFBIG),
    }
}

/// The size of a disk. Keeps the memory of the disk, but not the disk.
///
/// # Invariants
///
/// A reference to the disk is held.
pub(crate) struct DiskCapacity(NonNull<bindings::gendisk>);

// SAFETY: The block layer synchronises all use of a disk.
unsafe impl Send for DiskCapacity {}
// SAFETY: As above.
unsafe impl Sync for DiskCapacity {}

impl DiskCapacity {
    /// # Safety
    ///
    /// `disk` must be valid.
    pub(super) unsafe fn of(disk: NonNull<bindings::gendisk>) -> Self {
        // SAFETY: By the safety requirement; `part0` lives as long as the disk.
        unsafe { bindings::get_device(&raw mut (*(*disk.as_ptr()).part0).bd_device) };
        // INVARIANT: Taken above.
        Self(disk)
    }

    /// Sectors of 512 bytes.
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: By the type invariant; a look at a number that changes as a whole.
        unsafe { (&raw const (*(*self.0.as_ptr()).part0).bd_nr_sectors).read_volatile() }
    }

    /// Changes it to `sectors`, and tells user space. May sleep.
    ///
    /// # Errors
    ///
    /// `EFBIG` for a disk larger than the block layer can have.
    pub(crate) fn set(&self, sectors: u64) -> Result {
        let sectors = check(sectors)?;
        // SAFETY: By the type invariant. Of a disk that is removed nobody is told.
        unsafe { bindings::set_capacity_and_notify(self.0.as_ptr(), sectors) };
        Ok(())
    }
}

impl Drop for DiskCapacity {
    fn drop(&mut self) {
        // SAFETY: Gives back the reference that this object stands for.
        unsafe { bindings::put_disk(self.0.as_ptr()) };
    }
}
