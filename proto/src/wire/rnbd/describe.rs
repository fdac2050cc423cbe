// SPDX-License-Identifier: GPL-2.0-only

//! DESCRIBE and DESCRIBE_RSP: a client asks the server for the description of an open device.
//!
//! The C drivers do not have them; they require [`super::Features::DESCRIPTIONS`].
//!
//! The response can grow: it has a length, later versions of it add fields at the end, and a
//! field that the length does not cover has its default, 0. A receiver ignores what follows the
//! fields that it knows.

mod atomic_writes;
mod identity;

use zerocopy::{
    little_endian::{
        U16,
        U32,
        U64, //
    },
    FromZeros as _,
    IntoBytes as _, //
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
    wire, //
};

use super::{
    DeviceId,
    Geometry,
    Header,
    OpenRsp,
    TYPE_DESCRIBE,
    TYPE_DESCRIBE_RSP, //
};

pub use self::{
    atomic_writes::AtomicWrites,
    identity::{
        DeviceIdentity,
        Identity,
        IdentityKind,
        MAX_IDENTITY, //
    }, //
};

/// Size of a DESCRIBE in bytes.
const DESCRIBE_SIZE: usize = 12;
/// Size of a DESCRIBE_RSP in bytes, with all fields that this implementation knows.
pub const DESCRIBE_RSP_SIZE: usize = 180;
/// Size of the shortest DESCRIBE_RSP in bytes: it ends with the size of a logical block.
const MIN_DESCRIBE_RSP_SIZE: usize = 28;
/// Layout of the fields. More fields at the end do not change it.
const LAYOUT: u16 = 1;
/// The length is a multiple of this, so that no field is cut.
const LENGTH_UNIT: usize = 4;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireDescribe {
    header: Header,
    device_id: U32,
    applied: U32,
}

/// Header and length of the response.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireDescribeHead {
    header: Header,
    layout: U16,
    /// Bytes of the message, including these.
    length: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireDescribeRsp {
    head: WireDescribeHead,
    generation: U32,
    flags: U32,
    sectors: U64,
    logical_block_size: U32,
    physical_block_size: U32,
    io_min: U32,
    io_opt: U32,
    alignment_offset: U32,
    max_transfer_sectors: U32,
    max_segments: U32,
    max_discard_sectors: U32,
    discard_granularity: U32,
    discard_alignment: U32,
    max_secure_erase_sectors: U32,
    max_write_zeroes_sectors: U32,
    max_write_zeroes_unmap_sectors: U32,
    zone_sectors: U32,
    max_open_zones: U32,
    max_active_zones: U32,
    max_zone_append_sectors: U32,
    atomic_write_unit_min: U32,
    atomic_write_unit_max: U32,
    atomic_write_max: U32,
    atomic_write_boundary: U32,
    partition: U32,
    identity_kind: u8,
    identity_len: u8,
    reserved: [u8; 2],
    identity: [u8; MAX_IDENTITY],
}

const _: () = assert!(size_of::<WireDescribe>() == DESCRIBE_SIZE);
const _: () = assert!(size_of::<WireDescribeRsp>() == DESCRIBE_RSP_SIZE);
const _: () = assert!(DESCRIBE_RSP_SIZE % LENGTH_UNIT == 0);

/// The version of a description. It changes whenever anything in the description does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u32);

impl Generation {
    /// No description.
    pub const NONE: Self = Self(0);
    /// The first description of a device that was opened.
    pub const FIRST: Self = Self(1);

    /// Returns the generation `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the next generation, which is never [`Self::NONE`].
    pub const fn next(self) -> Self {
        match self.0.wrapping_add(1) {
            0 => Self::FIRST,
            number => Self(number),
        }
    }
}

/// A client's request for the description of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescribeMsg {
    /// The device.
    pub device: DeviceId,
    /// The description that the client's disk has at present.
    pub applied: Generation,
}

impl DescribeMsg {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireDescribe = wire::read(bytes)?;

        msg.header.expect(TYPE_DESCRIBE)?;
        Ok(Self {
            device: DeviceId(msg.device_id.get()),
            applied: Generation(msg.applied.get()),
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; DESCRIBE_SIZE] {
        zerocopy::transmute!(WireDescribe {
            header: Header::new(TYPE_DESCRIBE),
            device_id: self.device.0.into(),
            applied: self.applied.0.into(),
        })
    }
}

/// What a device is and can do, without its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceFlags(u32);

impl DeviceFlags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// It has a volatile write cache.
    pub const WRITE_CACHE: Self = Self(1 << 0);
    /// It can write around its cache (force unit access).
    pub const FUA: Self = Self(1 << 1);
    /// It cannot be written at present.
    pub const READ_ONLY: Self = Self(1 << 2);
    /// Seeking takes time.
    pub const ROTATIONAL: Self = Self(1 << 3);
    /// Data must not change while it is written.
    pub const STABLE_WRITES: Self = Self(1 << 4);
    /// It is a zoned device that is written sequentially.
    pub const HOST_MANAGED: Self = Self(1 << 5);
    /// It is not aligned to the disks below it.
    pub const MISALIGNED: Self = Self(1 << 6);
    /// Writing a part of a stripe is expensive.
    pub const PARTIAL_STRIPES_EXPENSIVE: Self = Self(1 << 7);
    /// The server writes the zeroes of WRITE_ZEROES, as the device cannot.
    pub const ZEROES_WRITTEN: Self = Self(1 << 8);
    /// The server takes requests with [`IoFlags::ATOMIC`](super::IoFlags::ATOMIC).
    pub const ATOMIC_REQUESTS: Self = Self(1 << 9);

    const ALL: u32 = (1 << 10) - 1;

    /// Returns whether all of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Returns these flags, and `flag` if `on`.
    #[must_use]
    pub const fn with(self, flag: Self, on: bool) -> Self {
        match on {
            true => Self(self.0 | flag.0),
            false => self,
        }
    }
}

/// Sizes and limits of zones; all 0 for a device without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    /// Size of a zone in units of 512 bytes.
    pub zone_sectors: u32,
    /// Most zones that can be open at a time; 0 for any number.
    pub max_open: u32,
    /// Most zones that can be active at a time; 0 for any number.
    pub max_active: u32,
    /// Largest zone append in units of 512 bytes.
    pub max_append_sectors: u32,
}

/// A server's description of an open device. A limit of 0 means that the operation is not
/// supported, a hint of 0 that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Version of the description.
    pub generation: Generation,
    /// What the device is and can do.
    pub flags: DeviceFlags,
    /// Sizes of the device and of its blocks.
    pub geometry: Geometry,
    /// Smallest request that does not cost more than its share, in bytes.
    pub io_min: u32,
    /// Best size of a request, such as a stripe, in bytes.
    pub io_opt: u32,
    /// Offset of the first physical block in bytes.
    pub alignment_offset: u32,
    /// Largest transfer in units of 512 bytes. The server splits larger ones.
    pub max_transfer_sectors: u32,
    /// Largest number of segments of a transfer. As above.
    pub max_segments: u32,
    /// Largest range for discard in units of 512 bytes.
    pub max_discard_sectors: u32,
    /// Unit of discard in bytes.
    pub discard_granularity: u32,
    /// Offset of the first unit of discard in bytes.
    pub discard_alignment: u32,
    /// Largest range for secure erase in units of 512 bytes.
    pub max_secure_erase_sectors: u32,
    /// Largest range for write-zeroes in units of 512 bytes.
    pub max_write_zeroes_sectors: u32,
    /// Largest range for write-zeroes that frees the space, in units of 512 bytes.
    pub max_write_zeroes_unmap_sectors: u32,
    /// The zones.
    pub zones: Zones,
    /// Writes that happen as a whole or not at all.
    pub atomic_writes: Option<AtomicWrites>,
    /// Number of the partition that the device is; 0 for a whole disk.
    pub partition: u32,
    /// A name of the disk that no other disk has.
    pub identity: Option<Identity>,
}

impl Description {
    /// Describes a device of `geometry` of which nothing else is known.
    pub const fn new(geometry: Geometry) -> Self {
        Self {
            generation: Generation::NONE,
            flags: DeviceFlags::NONE,
            geometry,
            io_min: 0,
            io_opt: 0,
            alignment_offset: 0,
            max_transfer_sectors: 0,
            max_segments: 0,
            max_discard_sectors: 0,
            discard_granularity: 0,
            discard_alignment: 0,
            max_secure_erase_sectors: 0,
            max_write_zeroes_sectors: 0,
            max_write_zeroes_unmap_sectors: 0,
            zones: Zones {
                zone_sectors: 0,
                max_open: 0,
                max_active: 0,
                max_append_sectors: 0,
            },
            atomic_writes: None,
            partition: 0,
            identity: None,
        }
    }

    /// Returns the description with the generation of `last`, the one before it, or with the
    /// next generation if anything else differs.
    #[must_use]
    pub fn after(self, last: &Self) -> Self {
        let same = Self {
            generation: last.generation,
            ..self
        };
        match same == *last {
            true => same,
            false => Self {
                generation: last.generation.next(),
                ..self
            },
        }
    }

    /// Returns the limits of the atomic writes that a client can ask for.
    pub fn requestable_atomic_writes(&self) -> Option<AtomicWrites> {
        self.atomic_writes
            .filter(|_| self.flags.has(DeviceFlags::ATOMIC_REQUESTS))
    }

    /// Returns the identity of the device, if its disk has one.
    pub fn device_identity(&self) -> Option<DeviceIdentity> {
        self.identity.map(|disk| DeviceIdentity {
            disk,
            partition: self.partition,
        })
    }

    /// Returns the response to an OPEN of `device`, which tells less.
    pub fn open_rsp(&self, device: DeviceId) -> OpenRsp {
        OpenRsp {
            device,
            geometry: self.geometry,
            max_hw_sectors: self.max_transfer_sectors,
            max_write_zeroes_sectors: match self.flags.has(DeviceFlags::ZEROES_WRITTEN) {
                true => 0,
                false => self.max_write_zeroes_sectors,
            },
            max_discard_sectors: self.max_discard_sectors,
            discard_granularity: self.discard_granularity,
            discard_alignment: self.discard_alignment,
            max_segments: u16::try_from(self.max_segments).unwrap_or(u16::MAX),
            secure_erase: self.max_secure_erase_sectors > 0,
            write_cache: self.flags.has(DeviceFlags::WRITE_CACHE),
            fua: self.flags.has(DeviceFlags::FUA),
        }
    }

    /// Parses the message. What is only a hint and makes no sense is left out.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let head: WireDescribeHead = wire::read(bytes)?;

        head.header.expect(TYPE_DESCRIBE_RSP)?;
        if head.layout.get() != LAYOUT {
            return Err(WireError::Version(head.layout.get()));
        }
        let length = usize::from(head.length.get());
        let got = length.min(bytes.len());
        let need = length.max(MIN_DESCRIBE_RSP_SIZE);
        if got < need {
            return Err(WireError::Short { need, got });
        }
        let known = got.min(DESCRIBE_RSP_SIZE) / LENGTH_UNIT * LENGTH_UNIT;
        let mut msg = WireDescribeRsp::new_zeroed();
        for (field, byte) in msg.as_mut_bytes().iter_mut().zip(bytes).take(known) {
            *field = *byte;
        }
        Self::decode(&msg)
    }

    fn decode(msg: &WireDescribeRsp) -> Result<Self, WireError> {
        Ok(Self {
            generation: Generation(msg.generation.get()),
            flags: DeviceFlags(msg.flags.get() & DeviceFlags::ALL),
            geometry: Geometry::new(
                msg.sectors.get(),
                msg.logical_block_size.get(),
                msg.physical_block_size.get(),
            )?,
            io_min: msg.io_min.get(),
            io_opt: msg.io_opt.get(),
            alignment_offset: msg.alignment_offset.get(),
            max_transfer_sectors: msg.max_transfer_sectors.get(),
            max_segments: msg.max_segments.get(),
            max_discard_sectors: msg.max_discard_sectors.get(),
            discard_granularity: msg.discard_granularity.get(),
            discard_alignment: msg.discard_alignment.get(),
            max_secure_erase_sectors: msg.max_secure_erase_sectors.get(),
            max_write_zeroes_sectors: msg.max_write_zeroes_sectors.get(),
            max_write_zeroes_unmap_sectors: msg.max_write_zeroes_unmap_sectors.get(),
            zones: Zones {
                zone_sectors: msg.zone_sectors.get(),
                max_open: msg.max_open_zones.get(),
                max_active: msg.max_active_zones.get(),
                max_append_sectors: msg.max_zone_append_sectors.get(),
            },
            atomic_writes: AtomicWrites::new(
                msg.atomic_write_unit_min.get(),
                msg.atomic_write_unit_max.get(),
                msg.atomic_write_max.get(),
                msg.atomic_write_boundary.get(),
            ),
            partition: msg.partition.get(),
            identity: Identity::from_wire(msg.identity_kind, msg.identity_len, &msg.identity),
        })
    }

    /// Encodes the message for a client that has space for `space` bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`] if there is no space for the fields that every client needs.
    pub fn encode(&self, space: usize) -> Result<DescribeRsp, WireError> {
        let len = space.min(DESCRIBE_RSP_SIZE) / LENGTH_UNIT * LENGTH_UNIT;
        if len < MIN_DESCRIBE_RSP_SIZE {
            return Err(WireError::NoRoom {
                need: MIN_DESCRIBE_RSP_SIZE,
                got: space,
            });
        }
        let atomic = self.atomic_writes.as_ref();
        let msg = WireDescribeRsp {
            head: WireDescribeHead {
                header: Header::new(TYPE_DESCRIBE_RSP),
                layout: LAYOUT.into(),
                // CAST: At most the size of the message.
                length: (len as u16).into(),
            },
            generation: self.generation.0.into(),
            flags: self.flags.0.into(),
            sectors: self.geometry.sectors().into(),
            logical_block_size: self.geometry.logical_block_size().into(),
            physical_block_size: self.geometry.physical_block_size().into(),
            io_min: self.io_min.into(),
            io_opt: self.io_opt.into(),
            alignment_offset: self.alignment_offset.into(),
            max_transfer_sectors: self.max_transfer_sectors.into(),
            max_segments: self.max_segments.into(),
            max_discard_sectors: self.max_discard_sectors.into(),
            discard_granularity: self.discard_granularity.into(),
            discard_alignment: self.discard_alignment.into(),
            max_secure_erase_sectors: self.max_secure_erase_sectors.into(),
            max_write_zeroes_sectors: self.max_write_zeroes_sectors.into(),
            max_write_zeroes_unmap_sectors: self.max_write_zeroes_unmap_sectors.into(),
            zone_sectors: self.zones.zone_sectors.into(),
            max_open_zones: self.zones.max_open.into(),
            max_active_zones: self.zones.max_active.into(),
            max_zone_append_sectors: self.zones.max_append_sectors.into(),
            atomic_write_unit_min: atomic.map_or(0, AtomicWrites::unit_min).into(),
            atomic_write_unit_max: atomic.map_or(0, AtomicWrites::unit_max).into(),
            atomic_write_max: atomic.map_or(0, AtomicWrites::max).into(),
            atomic_write_boundary: atomic.map_or(0, AtomicWrites::boundary).into(),
            partition: self.partition.into(),
            identity_kind: self.identity.as_ref().map_or(0, Identity::wire_kind),
            identity_len: self.identity.as_ref().map_or(0, Identity::wire_len),
            reserved: [0; 2],
            identity: self
                .identity
                .as_ref()
                .map_or([0; MAX_IDENTITY], Identity::field),
        };
        Ok(DescribeRsp {
            bytes: zerocopy::transmute!(msg),
            len,
        })
    }
}

/// All that an OPEN_RSP tells of a device.
impl From<&OpenRsp> for Description {
    fn from(rsp: &OpenRsp) -> Self {
        Self {
            flags: DeviceFlags::NONE
                .with(DeviceFlags::WRITE_CACHE, rsp.write_cache)
                .with(DeviceFlags::FUA, rsp.fua),
            max_transfer_sectors: rsp.max_hw_sectors,
            max_segments: rsp.max_segments.into(),
            max_discard_sectors: rsp.max_discard_sectors,
            discard_granularity: rsp.discard_granularity,
            discard_alignment: rsp.discard_alignment,
            // The message has no limit of its own for secure erase; the server splits it, too.
            max_secure_erase_sectors: match (rsp.secure_erase, rsp.max_discard_sectors) {
                (true, 0) => u32::MAX >> 9,
                (true, limit) => limit,
                (false, _) => 0,
            },
            max_write_zeroes_sectors: rsp.max_write_zeroes_sectors,
            ..Self::new(rsp.geometry)
        }
    }
}

/// An encoded DESCRIBE_RSP.
#[derive(Clone, Copy, Debug)]
pub struct DescribeRsp {
    bytes: [u8; DESCRIBE_RSP_SIZE],
    len: usize,
}

impl DescribeRsp {
    /// Returns the bytes of the message.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for DescribeRsp {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireDescribe, 12, { header: 0, device_id: 4, applied: 8 });
        assert_layout!(WireDescribeHead, 8, { header: 0, layout: 4, length: 6 });
        assert_layout!(WireDescribeRsp, 180, {
            head: 0, generation: 8, flags: 12, sectors: 16, logical_block_size: 24,
            physical_block_size: 28, io_min: 32, io_opt: 36, alignment_offset: 40,
            max_transfer_sectors: 44, max_segments: 48, max_discard_sectors: 52,
            discard_granularity: 56, discard_alignment: 60, max_secure_erase_sectors: 64,
            max_write_zeroes_sectors: 68, max_write_zeroes_unmap_sectors: 72, zone_sectors: 76,
            max_open_zones: 80, max_active_zones: 84, max_zone_append_sectors: 88,
            atomic_write_unit_min: 92, atomic_write_unit_max: 96, atomic_write_max: 100,
            atomic_write_boundary: 104, partition: 108, identity_kind: 112, identity_len: 113,
            reserved: 114, identity: 116,
        });
    }

    #[test]
    fn generations_skip_none() {
        assert_eq!(Generation::FIRST.next(), Generation::new(2));
        assert_eq!(Generation::new(u32::MAX).next(), Generation::FIRST);
        assert_eq!(Generation::NONE.next(), Generation::FIRST);
    }
}
