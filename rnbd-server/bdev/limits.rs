// SPDX-License-Identifier: GPL-2.0-only

//! Geometry and limits of a block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use rtrs::bindings;

/// The limits of a block device. A sector has 512 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Size of the device.
    pub(crate) sectors: u64,
    /// Smallest unit of addressing, in bytes.
    pub(crate) logical_block_size: u32,
    /// Unit the medium writes without reading first, in bytes.
    pub(crate) physical_block_size: u32,
    /// Largest single transfer, in sectors.
    pub(crate) max_hw_sectors: u32,
    /// Segments of a single transfer.
    pub(crate) max_segments: u16,
    /// Largest range to zero at once, in sectors; 0 if unsupported.
    pub(crate) max_write_zeroes_sectors: u32,
    /// Largest range to discard at once, in sectors; 0 if unsupported.
    pub(crate) max_discard_sectors: u32,
    /// Largest range to erase securely at once, in sectors; 0 if unsupported.
    pub(crate) max_secure_erase_sectors: u32,
    /// Unit of discard in bytes.
    pub(crate) discard_granularity: u32,
    /// Bytes from the start of the device to the first unit of discard.
    pub(crate) discard_alignment: u32,
    /// Whether there is a volatile write cache, in use.
    pub(crate) write_cache: bool,
    /// Whether single writes can go around the cache.
    pub(crate) fua: bool,
}

impl Limits {
    /// Reads the limits of `bdev`.
    ///
    /// # Safety
    ///
    /// `bdev` is open.
    pub(super) unsafe fn of(bdev: *mut bindings::block_device) -> Self {
        // SAFETY: `bdev` is open by the safety requirements, so it has a queue. Limits
        // are words that the block layer itself reads without a lock.
        let (sectors, limits) = unsafe { ((*bdev).bd_nr_sectors, &(*(*bdev).bd_queue).limits) };

        Self {
            sectors,
            logical_block_size: limits.logical_block_size,
            physical_block_size: limits.physical_block_size,
            max_hw_sectors: limits.max_hw_sectors,
            max_segments: limits.max_segments,
            max_write_zeroes_sectors: limits.max_write_zeroes_sectors,
            max_discard_sectors: limits.max_discard_sectors,
            max_secure_erase_sectors: limits.max_secure_erase_sectors,
            discard_granularity: limits.discard_granularity,
            // SAFETY: `bdev` is open.
            discard_alignment: unsafe { bindings::bdev_discard_alignment(bdev) },
            write_cache: limits.features & bindings::BLK_FEAT_WRITE_CACHE != 0
                && limits.flags & bindings::BLK_FLAG_WRITE_CACHE_DISABLED == 0,
            fua: limits.features & bindings::BLK_FEAT_FUA != 0,
        }
    }
}
