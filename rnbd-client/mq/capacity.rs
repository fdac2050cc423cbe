// SPDX-License-Identifier: GPL-2.0-only

//! The capacity of a disk, which may change while the disk is in use.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::ptr::NonNull;

use kernel::{
    bindings,
    prelude::*, //
};

/// Largest number of sectors: the block layer counts bytes in a signed 64-bit number.
const MAX_SECTORS: u64 = (i64::MAX as u64) >> bindings::SECTOR_SHIFT;

/// Checks a number of sectors.
///
/// # Errors
///
/// `EFBIG` for more sectors than the block layer can address.
pub(super) fn check(sectors: u64) -> Result<u64> {
    match sectors {
        0..=MAX_SECTORS => Ok(sectors),
        _ => Err(EFBIG),
    }
}

/// Reads and sets the capacity of a disk. Keeps the memory of the disk allocated, but does not
/// keep the disk from being removed.
///
/// # Invariants
///
/// Owns a reference to the disk.
pub(crate) struct DiskCapacity(NonNull<bindings::gendisk>);

// SAFETY: The block layer synchronises all use of a disk.
unsafe impl Send for DiskCapacity {}
// SAFETY: As above.
unsafe impl Sync for DiskCapacity {}

impl DiskCapacity {
    /// # Safety
    ///
    /// `disk` must be valid.
    pub(super) unsafe fn new(disk: NonNull<bindings::gendisk>) -> Self {
        // SAFETY: By the safety requirement; `part0` lives as long as the disk.
        unsafe { bindings::get_device(&raw mut (*(*disk.as_ptr()).part0).bd_device) };
        // INVARIANT: The reference is taken above.
        Self(disk)
    }

    /// Returns the capacity in sectors of 512 bytes.
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: By the type invariant; the number is read and written as a whole.
        unsafe { (&raw const (*(*self.0.as_ptr()).part0).bd_nr_sectors).read_volatile() }
    }

    /// Changes the capacity to `sectors` and sends a uevent, by
    /// [`set_capacity_and_notify`](srctree/block/genhd.c). May sleep.
    ///
    /// # Errors
    ///
    /// `EFBIG` for more sectors than the block layer can address.
    pub(crate) fn set(&self, sectors: u64) -> Result {
        let sectors = check(sectors)?;
        // SAFETY: By the type invariant. For a disk that was removed no uevent is sent.
        unsafe { bindings::set_capacity_and_notify(self.0.as_ptr(), sectors) };
        Ok(())
    }
}

impl Drop for DiskCapacity {
    fn drop(&mut self) {
        // SAFETY: Drops the reference that this object owns.
        unsafe { bindings::put_disk(self.0.as_ptr()) };
    }
}
