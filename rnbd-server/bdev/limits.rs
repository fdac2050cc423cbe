// SPDX-License-Identifier: GPL-2.0-only

//! Geometry and limits of a block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use rnbd_proto::wire::rnbd::{
    AtomicWrites,
    DeviceFlags,
    Zones, //
};

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
    /// Smallest request that does not cost more than its share, in bytes.
    pub(crate) io_min: u32,
    /// Best size of a request, in bytes; 0 if there is none.
    pub(crate) io_opt: u32,
    /// Bytes from the start of the device to its first physical block.
    pub(crate) alignment_offset: u32,
    /// Largest single transfer, in sectors.
    pub(crate) max_hw_sectors: u32,
    /// Segments of a single transfer.
    pub(crate) max_segments: u16,
    /// Largest range to zero at once, in sectors; 0 if unsupported.
    pub(crate) max_write_zeroes_sectors: u32,
    /// Largest range to zero at once so that its space is freed; 0 if unsupported.
    pub(crate) max_write_zeroes_unmap_sectors: u32,
    /// Largest range to discard at once, in sectors; 0 if unsupported.
    pub(crate) max_discard_sectors: u32,
    /// Largest range to erase securely at once, in sectors; 0 if unsupported.
    pub(crate) max_secure_erase_sectors: u32,
    /// Unit of discard in bytes.
    pub(crate) discard_granularity: u32,
    /// Bytes from the start of the device to the first unit of discard.
    pub(crate) discard_alignment: u32,
    /// What the device is and can do. The write cache is one that is in use.
    pub(crate) flags: DeviceFlags,
    /// The zones, if it is a zoned device.
    pub(crate) zones: Zones,
    /// Writes that happen as a whole or not at all.
    pub(crate) atomic_writes: Option<AtomicWrites>,
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
        let (sectors, start, limits) = unsafe {
            let limits = &(*(*bdev).bd_queue).limits;
            ((*bdev).bd_nr_sectors, (*bdev).bd_start_sect, limits)
        };
        // SAFETY: `bdev` is open. -1 if the device is not aligned to those below it.
        let alignment_offset = u32::try_from(unsafe { bindings::bdev_alignment_offset(bdev) });
        // SAFETY: `bdev` is open.
        let read_only = unsafe { bindings::bdev_read_only(bdev) };
        let has = |feature| limits.features & feature != 0;
        let write_cache = write_cache(limits.features, limits.flags);
        let zoned = has(bindings::BLK_FEAT_ZONED);

        Self {
            sectors,
            logical_block_size: limits.logical_block_size,
            physical_block_size: limits.physical_block_size,
            io_min: limits.io_min,
            io_opt: limits.io_opt,
            alignment_offset: alignment_offset.unwrap_or(0),
            max_hw_sectors: limits.max_hw_sectors,
            max_segments: limits.max_segments,
            max_write_zeroes_sectors: limits.max_write_zeroes_sectors,
            max_write_zeroes_unmap_sectors: limits.max_wzeroes_unmap_sectors,
            max_discard_sectors: limits.max_discard_sectors,
            max_secure_erase_sectors: limits.max_secure_erase_sectors,
            discard_granularity: limits.discard_granularity,
            // SAFETY: `bdev` is open.
            discard_alignment: unsafe { bindings::bdev_discard_alignment(bdev) },
            flags: DeviceFlags::NONE
                .with(DeviceFlags::WRITE_CACHE, write_cache)
                .with(DeviceFlags::FUA, has(bindings::BLK_FEAT_FUA))
                .with(DeviceFlags::READ_ONLY, read_only)
                .with(DeviceFlags::ROTATIONAL, has(bindings::BLK_FEAT_ROTATIONAL))
                .with(
                    DeviceFlags::STABLE_WRITES,
                    has(bindings::BLK_FEAT_STABLE_WRITES),
                )
                .with(DeviceFlags::HOST_MANAGED, zoned)
                .with(DeviceFlags::MISALIGNED, alignment_offset.is_err())
                .with(
                    DeviceFlags::PARTIAL_STRIPES_EXPENSIVE,
                    has(bindings::BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE),
                ),
            zones: match zoned {
                true => Zones {
                    zone_sectors: limits.chunk_sectors,
                    max_open: limits.max_open_zones,
                    max_active: limits.max_active_zones,
                    max_append_sectors: limits.max_zone_append_sectors,
                },
                false => Zones::default(),
            },
            atomic_writes: atomic_writes(limits, start),
        }
    }
}

/// Returns whether a queue with these features and flags has a volatile write cache in use, as
/// `blk_queue_write_cache` does.
#[inline]
pub(super) fn write_cache(
    features: bindings::blk_features_t,
    flags: bindings::blk_flags_t,
) -> bool {
    features & bindings::BLK_FEAT_WRITE_CACHE != 0
        && flags & bindings::BLK_FLAG_WRITE_CACHE_DISABLED == 0
}

/// Returns the limits of atomic writes of a device that starts at sector `start` of its disk,
/// as `bdev_can_atomic_write` does.
fn atomic_writes(limits: &bindings::queue_limits, start: u64) -> Option<AtomicWrites> {
    let bytes = |sectors: u32| sectors.checked_mul(super::SECTOR_SIZE);
    let unit = limits
        .atomic_write_hw_unit_min
        .max(limits.atomic_write_hw_boundary);
    let aligned = start.checked_rem(u64::from(unit / super::SECTOR_SIZE)) == Some(0);

    AtomicWrites::new(
        limits.atomic_write_unit_min,
        limits.atomic_write_unit_max,
        bytes(limits.atomic_write_max_sectors)?,
        bytes(limits.atomic_write_boundary_sectors)?,
    )
    .filter(|_| aligned)
}
