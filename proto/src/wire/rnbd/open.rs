// SPDX-License-Identifier: GPL-2.0-only

//! OPEN and OPEN_RSP: a client opens a device, the server describes it.

use zerocopy::{
    little_endian::{
        U16,
        U32,
        U64, //
    },
    FromBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    error::WireError,
    wire::{
        self,
        name::{
            DevicePath,
            NameBuf, //
        }, //
    }, //
};

use super::{
    AccessMode,
    DeviceId,
    Header,
    TYPE_OPEN,
    TYPE_OPEN_RSP, //
};

/// Size of an OPEN in bytes.
pub(super) const OPEN_SIZE: usize = 264;
/// Size of an OPEN_RSP in bytes.
pub const OPEN_RSP_SIZE: usize = 56;

const CACHE_FUA: u8 = 1 << 0;
const CACHE_WRITEBACK: u8 = 1 << 1;

const SECTOR_SIZE: u32 = 512;
/// Largest block size that fits into the 16 bits of the message.
const MAX_BLOCK_SIZE: u32 = 32768;
/// First sector beyond a signed 64-bit file offset.
const SECTOR_END: u64 = 1 << 54;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireOpen {
    header: Header,
    access_mode: u8,
    reserved1: u8,
    /// `dev_name` of C and the first of the reserved bytes after it.
    name: NameBuf,
    reserved2: [u8; 2],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireOpenRsp {
    header: Header,
    device_id: U32,
    nsectors: U64,
    max_hw_sectors: U32,
    max_write_zeroes_sectors: U32,
    max_discard_sectors: U32,
    discard_granularity: U32,
    discard_alignment: U32,
    physical_block_size: U16,
    logical_block_size: U16,
    max_segments: U16,
    secure_discard: U16,
    obsolete_rotational: u8,
    cache_policy: u8,
    reserved: [u8; 10],
}

const _: () = assert!(size_of::<WireOpen>() == OPEN_SIZE);
const _: () = assert!(size_of::<WireOpenRsp>() == OPEN_RSP_SIZE);

/// A client's request to open a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMsg<'a> {
    /// Mode in which to open the device.
    pub mode: AccessMode,
    /// Path of the device, relative to the server's search path.
    pub path: DevicePath<'a>,
}

impl<'a> OpenMsg<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let Ok((msg, _)) = WireOpen::ref_from_prefix(bytes) else {
            return Err(WireError::Short {
                need: OPEN_SIZE,
                got: bytes.len(),
            });
        };
        msg.header.expect(TYPE_OPEN)?;
        Ok(Self {
            mode: AccessMode::from_wire(msg.access_mode)?,
            path: DevicePath::from_field(&msg.name)?,
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; OPEN_SIZE] {
        zerocopy::transmute!(WireOpen {
            header: Header::new(TYPE_OPEN),
            access_mode: self.mode.to_wire(),
            reserved1: 0,
            name: self.path.to_field(),
            reserved2: [0; 2],
        })
    }
}

/// Size of a device and of its blocks.
///
/// # Invariants
///
/// Both block sizes are powers of two from 512 to 32768, and the physical one is at least the
/// logical one. The size of the device is a whole number of logical blocks and fits into a file
/// offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    sectors: u64,
    logical: u32,
    physical: u32,
}

impl Geometry {
    /// Creates the geometry of a device of `sectors` (of 512 bytes) with logical blocks of
    /// `logical` and physical blocks of `physical` bytes.
    ///
    /// A loop device can end with a part of a block, which the C server includes. It is not
    /// usable, so it is left out.
    ///
    /// The physical block size is only a hint, so an invalid one is replaced: a larger one by
    /// the largest that fits into a message, any other by the logical one.
    pub fn new(sectors: u64, logical: u32, physical: u32) -> Result<Self, WireError> {
        if !logical.is_power_of_two() || !(SECTOR_SIZE..=MAX_BLOCK_SIZE).contains(&logical) {
            return Err(WireError::Geometry);
        }
        if sectors > SECTOR_END {
            return Err(WireError::Geometry);
        }
        let within_block = u64::from(logical / SECTOR_SIZE).wrapping_sub(1);
        let physical = if physical.is_power_of_two() && physical >= logical {
            physical.min(MAX_BLOCK_SIZE)
        } else {
            logical
        };
        // INVARIANT: Checked and adjusted above.
        Ok(Self {
            sectors: sectors & !within_block,
            logical,
            physical,
        })
    }

    /// Returns the size of the device in units of 512 bytes.
    pub const fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Returns the size of a logical block in bytes.
    pub const fn logical_block_size(&self) -> u32 {
        self.logical
    }

    /// Returns the size of a physical block in bytes.
    pub const fn physical_block_size(&self) -> u32 {
        self.physical
    }
}

/// A server's description of an open device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRsp {
    /// Id of the device in later messages.
    pub device: DeviceId,
    /// Sizes of the device and of its blocks.
    pub geometry: Geometry,
    /// Largest transfer in units of 512 bytes.
    pub max_hw_sectors: u32,
    /// Largest range for write-zeroes in units of 512 bytes; 0 if unsupported.
    pub max_write_zeroes_sectors: u32,
    /// Largest range for discard in units of 512 bytes; 0 if unsupported.
    pub max_discard_sectors: u32,
    /// Unit of discard in bytes.
    pub discard_granularity: u32,
    /// Offset of the first unit of discard in bytes.
    pub discard_alignment: u32,
    /// Largest number of segments in one transfer.
    pub max_segments: u16,
    /// Whether secure erase is supported.
    pub secure_erase: bool,
    /// Whether the device has a volatile write cache.
    pub write_cache: bool,
    /// Whether the device can write around its cache (force unit access).
    pub fua: bool,
}

impl OpenRsp {
    /// Parses only the id of the device, even if the rest of the message is invalid.
    pub fn device_of(bytes: &[u8]) -> Option<DeviceId> {
        let msg: WireOpenRsp = wire::read(bytes).ok()?;

        msg.header.expect(TYPE_OPEN_RSP).ok()?;
        Some(DeviceId(msg.device_id.get()))
    }

    /// Parses the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireOpenRsp = wire::read(bytes)?;

        msg.header.expect(TYPE_OPEN_RSP)?;
        Ok(Self {
            device: DeviceId(msg.device_id.get()),
            geometry: Geometry::new(
                msg.nsectors.get(),
                msg.logical_block_size.get().into(),
                msg.physical_block_size.get().into(),
            )?,
            max_hw_sectors: msg.max_hw_sectors.get(),
            max_write_zeroes_sectors: msg.max_write_zeroes_sectors.get(),
            max_discard_sectors: msg.max_discard_sectors.get(),
            discard_granularity: msg.discard_granularity.get(),
            discard_alignment: msg.discard_alignment.get(),
            max_segments: msg.max_segments.get(),
            secure_erase: msg.secure_discard.get() != 0,
            write_cache: msg.cache_policy & CACHE_WRITEBACK != 0,
            fua: msg.cache_policy & CACHE_FUA != 0,
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; OPEN_RSP_SIZE] {
        let cache = |on: bool, bit: u8| if on { bit } else { 0 };

        zerocopy::transmute!(WireOpenRsp {
            header: Header::new(TYPE_OPEN_RSP),
            device_id: self.device.0.into(),
            nsectors: self.geometry.sectors.into(),
            max_hw_sectors: self.max_hw_sectors.into(),
            max_write_zeroes_sectors: self.max_write_zeroes_sectors.into(),
            max_discard_sectors: self.max_discard_sectors.into(),
            discard_granularity: self.discard_granularity.into(),
            discard_alignment: self.discard_alignment.into(),
            // Both fit by the type invariant of `Geometry`.
            physical_block_size: (self.geometry.physical as u16).into(),
            logical_block_size: (self.geometry.logical as u16).into(),
            max_segments: self.max_segments.into(),
            secure_discard: u16::from(self.secure_erase).into(),
            obsolete_rotational: 0,
            cache_policy: cache(self.fua, CACHE_FUA) | cache(self.write_cache, CACHE_WRITEBACK),
            reserved: [0; 10],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // The name includes the first reserved byte of C, at 261.
        assert_layout!(WireOpen, 264, {
            header: 0, access_mode: 4, reserved1: 5, name: 6, reserved2: 261 + 1,
        });
        assert_layout!(WireOpenRsp, 56, {
            header: 0, device_id: 4, nsectors: 8, max_hw_sectors: 16,
            max_write_zeroes_sectors: 20, max_discard_sectors: 24,
            discard_granularity: 28, discard_alignment: 32, physical_block_size: 36,
            logical_block_size: 38, max_segments: 40, secure_discard: 42,
            obsolete_rotational: 44, cache_policy: 45, reserved: 46,
        });
    }
}
