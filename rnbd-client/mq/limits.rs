// SPDX-License-Identifier: GPL-2.0-only

//! Limits and features of a request queue.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use kernel::{
    bindings,
    prelude::*, //
};

use rnbd_proto::wire::rnbd::{
    AtomicWrites,
    Description,
    DeviceFlags, //
};

use rtrs::bindings::{
    BLK_FEAT_ATOMIC_WRITES,
    BLK_FEAT_FUA,
    BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE,
    BLK_FEAT_ROTATIONAL,
    BLK_FEAT_STABLE_WRITES,
    BLK_FEAT_WRITE_CACHE,
    BLK_FLAG_MISALIGNED, //
};

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = bindings::SECTOR_SIZE;
/// Largest logical block that the block layer supports (`BLK_MAX_BLOCK_SIZE`).
const MAX_BLOCK_SIZE: u32 = 65536;
/// Smallest limit of a transfer that the block layer accepts: one page.
const MIN_IO_SIZE: u32 = 4096;

/// The features of a queue that stand for a flag and never change.
const FEATURES: [(DeviceFlags, bindings::blk_features_t); 3] = [
    (DeviceFlags::ROTATIONAL, BLK_FEAT_ROTATIONAL),
    (DeviceFlags::STABLE_WRITES, BLK_FEAT_STABLE_WRITES),
    (
        DeviceFlags::PARTIAL_STRIPES_EXPENSIVE,
        BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE,
    ),
];

/// Limits and features of a device. Sizes are in bytes unless the name says sectors (of
/// 512 bytes); a limit of 0 means that the operation is not supported.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Smallest addressable unit.
    pub(crate) logical_block_size: u32,
    /// Smallest unit written without read-modify-write.
    pub(crate) physical_block_size: u32,
    /// Smallest READ or WRITE that does not cost more than its share. 0: a physical block.
    pub(crate) io_min: u32,
    /// Best size of a READ or WRITE, such as a stripe. 0: there is none.
    pub(crate) io_opt: u32,
    /// Offset of the first physical block.
    pub(crate) alignment_offset: u32,
    /// Largest READ or WRITE.
    pub(crate) max_io_size: u32,
    /// Largest number of segments of a READ or WRITE.
    pub(crate) max_segments: u16,
    /// Every segment but the first starts, and every segment but the last ends,
    /// at a multiple of this power of two. 0: no such restriction.
    pub(crate) virt_boundary: u32,
    /// Segments start and end in memory at multiples of this power of two, up to a
    /// page.
    pub(crate) dma_alignment: u32,
    /// What may change later.
    pub(crate) live: LiveLimits,
    /// What the device is and can do, except for what is in `live`.
    pub(crate) flags: DeviceFlags,
}

/// The limits and features that may change while the disk is in use. Units as above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveLimits {
    /// There is a volatile write cache.
    pub(crate) write_cache: bool,
    /// A write can go around the cache. Ignored without one.
    pub(crate) fua: bool,
    /// Largest DISCARD.
    pub(crate) max_discard_sectors: u32,
    /// Unit of allocation that DISCARD works on.
    pub(crate) discard_granularity: u32,
    /// Offset of the first such unit.
    pub(crate) discard_alignment: u32,
    /// Largest SECURE ERASE.
    pub(crate) max_secure_erase_sectors: u32,
    /// Largest WRITE ZEROES.
    pub(crate) max_write_zeroes_sectors: u32,
    /// WRITE ZEROES may free the space.
    pub(crate) write_zeroes_unmap: bool,
    /// WRITE may happen as a whole or not at all.
    pub(crate) atomic_writes: Option<AtomicWrites>,
}

impl LiveLimits {
    /// Sets these limits and features in those of C.
    pub(super) fn set_in(&self, limits: &mut bindings::queue_limits) {
        limits.features &= !(BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA);
        if self.write_cache {
            limits.features |= BLK_FEAT_WRITE_CACHE;
            if self.fua {
                limits.features |= BLK_FEAT_FUA;
            }
        }
        limits.max_hw_discard_sectors = self.max_discard_sectors;
        limits.discard_granularity = self.discard_granularity;
        limits.discard_alignment = self.discard_alignment;
        limits.max_secure_erase_sectors = self.max_secure_erase_sectors;
        limits.max_write_zeroes_sectors = self.max_write_zeroes_sectors;
        limits.max_hw_wzeroes_unmap_sectors = match self.write_zeroes_unmap {
            true => self.max_write_zeroes_sectors,
            false => 0,
        };
        self.set_atomic_writes_in(limits);
    }

    /// Sets the limits of atomic writes, which are sent in one request each.
    fn set_atomic_writes_in(&self, limits: &mut bindings::queue_limits) {
        let largest = limits.max_hw_sectors.saturating_mul(SECTOR_SIZE);
        let atomic = self.atomic_writes.and_then(|it| it.limited_to(largest));

        limits.features &= !BLK_FEAT_ATOMIC_WRITES;
        if atomic.is_some() {
            limits.features |= BLK_FEAT_ATOMIC_WRITES;
        }
        limits.atomic_write_hw_unit_min = atomic.map_or(0, |it| it.unit_min());
        limits.atomic_write_hw_unit_max = atomic.map_or(0, |it| it.unit_max());
        // The server passes each request on as one bio, of which the largest unit is the limit, also
        // if this side has merged several.
        limits.atomic_write_hw_max = atomic.map_or(0, |it| it.unit_max());
        limits.atomic_write_hw_boundary = atomic.map_or(0, |it| it.boundary());
    }
}

impl From<&Description> for LiveLimits {
    fn from(device: &Description) -> Self {
        Self {
            write_cache: device.flags.has(DeviceFlags::WRITE_CACHE),
            fua: device.flags.has(DeviceFlags::FUA),
            max_discard_sectors: device.max_discard_sectors,
            discard_granularity: device.discard_granularity,
            discard_alignment: device.discard_alignment,
            max_secure_erase_sectors: device.max_secure_erase_sectors,
            max_write_zeroes_sectors: device.max_write_zeroes_sectors,
            write_zeroes_unmap: device.max_write_zeroes_unmap_sectors > 0,
            atomic_writes: device.requestable_atomic_writes(),
        }
    }
}

impl Limits {
    /// Whether these limits differ from `others` in more than what is live.
    pub(crate) fn differ_from(&self, others: &Self) -> bool {
        self.without_live() != others.without_live()
    }

    fn without_live(self) -> Self {
        let mut flags = DeviceFlags::NONE.with(
            DeviceFlags::MISALIGNED,
            self.flags.has(DeviceFlags::MISALIGNED),
        );
        for (flag, _) in FEATURES {
            flags = flags.with(flag, self.flags.has(flag));
        }
        Self {
            live: LiveLimits::default(),
            flags,
            ..self
        }
    }

    /// Converts the limits to those of C.
    ///
    /// # Errors
    ///
    /// Those of [`Self::set_fixed_in`].
    pub(super) fn to_raw(self) -> Result<bindings::queue_limits> {
        let mut limits = pin_init::zeroed();
        self.set_fixed_in(&mut limits)?;
        self.live.set_in(&mut limits);
        Ok(limits)
    }

    /// Sets what is not in `live` in the limits of C.
    ///
    /// # Errors
    ///
    /// `EINVAL` for values that the block layer would refuse with a kernel warning, as they may
    /// come from another machine.
    pub(super) fn set_fixed_in(&self, limits: &mut bindings::queue_limits) -> Result {
        let block_ok =
            |size: u32| size.is_power_of_two() && (SECTOR_SIZE..=MAX_BLOCK_SIZE).contains(&size);
        if !block_ok(self.logical_block_size)
            || !block_ok(self.physical_block_size)
            || self.max_io_size < MIN_IO_SIZE.max(self.logical_block_size)
            || self.max_segments == 0
            || !self.dma_alignment.is_power_of_two()
            || self.dma_alignment > MIN_IO_SIZE
        {
            return Err(EINVAL);
        }
        for (flag, feature) in FEATURES {
            match self.flags.has(flag) {
                true => limits.features |= feature,
                false => limits.features &= !feature,
            }
        }
        limits.flags = match self.flags.has(DeviceFlags::MISALIGNED) {
            true => limits.flags | BLK_FLAG_MISALIGNED,
            false => limits.flags & !BLK_FLAG_MISALIGNED,
        };
        limits.logical_block_size = self.logical_block_size;
        limits.physical_block_size = self.physical_block_size;
        limits.io_min = self.io_min;
        limits.io_opt = self.io_opt;
        limits.alignment_offset = self.alignment_offset;
        limits.max_hw_sectors = self.max_io_size / SECTOR_SIZE;
        // `max_sectors_kb`, which a user has set; 0 if not.
        if limits.max_user_sectors > 0 {
            let block = self.logical_block_size / SECTOR_SIZE;
            limits.max_user_sectors = limits.max_user_sectors.max(block);
        }
        limits.max_segments = self.max_segments;
        limits.virt_boundary_mask = u64::from(self.virt_boundary).saturating_sub(1) as usize;
        limits.dma_alignment = self.dma_alignment.saturating_sub(1);
        Ok(())
    }
}
