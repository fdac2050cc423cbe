// SPDX-License-Identifier: GPL-2.0-only

//! IO, the message of a block request.

use zerocopy::little_endian::{
    U16,
    U32,
    U64, //
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
    op,
    BlockOp,
    DeviceId,
    Header,
    IoFlags,
    TYPE_IO, //
};

/// Size of an IO in bytes: 26 of fields, 6 of padding.
const IO_SIZE: usize = 32;

const SECTOR_SHIFT: u32 = 9;
const SECTOR_MASK: u32 = (1 << SECTOR_SHIFT) - 1;
/// First sector beyond 2^64 bytes.
const SECTOR_END: u64 = 1 << (u64::BITS - SECTOR_SHIFT);

/// All fields except the priority, which protocol 1 did not have.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireIoV1 {
    header: Header,
    device_id: U32,
    sector: U64,
    rw: U32,
    bi_size: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireIo {
    v1: WireIoV1,
    prio: U16,
    padding: [u8; 6],
}

const _: () = assert!(size_of::<WireIoV1>() == 24);
const _: () = assert!(size_of::<WireIo>() == IO_SIZE);

/// A block request.
///
/// # Invariants
///
/// - The range is a whole number of sectors that ends within 2^64 bytes.
/// - It is empty, and starts at 0, for a flush; for any other operation it is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoMsg {
    device: DeviceId,
    op: BlockOp,
    flags: IoFlags,
    sector: u64,
    len: u32,
    prio: u16,
}

impl IoMsg {
    /// Creates a request for `len` bytes that start at `sector` (of 512 bytes).
    ///
    /// For a flush `len` must be 0, and `sector` is ignored: block layers put anything there.
    /// `prio` is the I/O priority as in `struct bio`.
    #[inline]
    pub fn new(
        device: DeviceId,
        op: BlockOp,
        flags: IoFlags,
        sector: u64,
        len: u32,
        prio: u16,
    ) -> Result<Self, WireError> {
        let sector = match op {
            BlockOp::Flush if len == 0 => 0,
            BlockOp::Flush => return Err(WireError::SectorRange),
            _ => {
                let count = u64::from(len >> SECTOR_SHIFT);
                let end = sector.checked_add(count);
                if len == 0 || len & SECTOR_MASK != 0 || end.is_none_or(|end| end > SECTOR_END) {
                    return Err(WireError::SectorRange);
                }
                sector
            }
        };
        // INVARIANT: Checked above.
        Ok(Self {
            device,
            op,
            flags,
            sector,
            len,
            prio,
        })
    }

    /// Parses the message, with or without the priority.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireIoV1 = wire::read(bytes)?;
        let prio = match wire::read::<WireIo>(bytes) {
            Ok(msg) => msg.prio.get(),
            Err(_) => 0,
        };

        msg.header.expect(TYPE_IO)?;
        let (op, flags) = op::from_wire(msg.rw.get())?;
        Self::new(
            DeviceId(msg.device_id.get()),
            op,
            flags,
            msg.sector.get(),
            msg.bi_size.get(),
            prio,
        )
    }

    /// Encodes the message.
    #[inline]
    pub fn encode(&self) -> [u8; IO_SIZE] {
        zerocopy::transmute!(WireIo {
            v1: WireIoV1 {
                header: Header::new(TYPE_IO),
                device_id: self.device.0.into(),
                sector: self.sector.into(),
                rw: op::to_wire(self.op, self.flags).into(),
                bi_size: self.len.into(),
            },
            prio: self.prio.into(),
            padding: [0; 6],
        })
    }

    /// Returns the device.
    #[inline]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the operation.
    #[inline]
    pub const fn op(&self) -> BlockOp {
        self.op
    }

    /// Returns the flags.
    #[inline]
    pub const fn flags(&self) -> IoFlags {
        self.flags
    }

    /// Returns the first sector, in units of 512 bytes.
    #[inline]
    pub const fn sector(&self) -> u64 {
        self.sector
    }

    /// Returns the length in bytes; 0 for a flush.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "only a flush is empty")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns the I/O priority.
    #[inline]
    pub const fn prio(&self) -> u16 {
        self.prio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireIoV1, 24, {
            header: 0, device_id: 4, sector: 8, rw: 16, bi_size: 20,
        });
        assert_layout!(WireIo, 32, { v1: 0, prio: 24, padding: 26 });
    }
}
