// SPDX-License-Identifier: GPL-2.0-only

//! Block operations and their flags, in one field: the operation in the lowest 8 bits, the
//! flags above.

use core::ops::BitOr;

use crate::error::WireError;

const OP_BITS: u32 = 8;

/// Decodes the field.
#[inline]
pub(super) const fn from_wire(raw: u32) -> Result<(BlockOp, IoFlags), WireError> {
    let flags = raw & !((1 << OP_BITS) - 1);
    if flags & !IoFlags::ALL != 0 {
        return Err(WireError::Flags(flags & !IoFlags::ALL));
    }
    match BlockOp::from_wire(raw) {
        Ok(op) => Ok((op, IoFlags(flags))),
        Err(e) => Err(e),
    }
}

/// Encodes the field.
#[inline]
pub(super) const fn to_wire(op: BlockOp, flags: IoFlags) -> u32 {
    op.to_wire() | flags.0
}

/// A block operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOp {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Make all completed writes durable.
    Flush,
    /// Discard sectors.
    Discard,
    /// Discard sectors so that their data cannot be recovered.
    SecureErase,
    /// Fill sectors with zeroes.
    WriteZeroes,
}

impl BlockOp {
    #[inline]
    const fn to_wire(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Flush => 2,
            Self::Discard => 3,
            Self::SecureErase => 4,
            Self::WriteZeroes => 5,
        }
    }

    #[inline]
    const fn from_wire(raw: u32) -> Result<Self, WireError> {
        let raw = raw as u8;
        Ok(match raw {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Flush,
            3 => Self::Discard,
            4 => Self::SecureErase,
            5 => Self::WriteZeroes,
            _ => return Err(WireError::Operation(raw)),
        })
    }

    /// Returns whether the operation changes the device. (A flush does not.)
    #[inline]
    pub const fn modifies(self) -> bool {
        !matches!(self, Self::Read | Self::Flush)
    }

    /// Returns whether the operation transfers data.
    #[inline]
    pub const fn has_data(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

/// Flags of a block operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoFlags(u32);

impl IoFlags {
    /// No flags.
    pub const NONE: Self = Self(0);
    /// A caller waits for the completion.
    pub const SYNC: Self = Self(1 << OP_BITS);
    /// The data is durable once the operation has completed.
    pub const FUA: Self = Self(1 << (OP_BITS + 1));
    /// A flush precedes the operation.
    pub const PREFLUSH: Self = Self(1 << (OP_BITS + 2));
    /// The device writes zeroes rather than deallocating the space.
    pub const NOUNMAP: Self = Self(1 << (OP_BITS + 3));
    /// The device writes the data as a whole or not at all, also if power fails. Only for a
    /// server that says so ([`DeviceFlags::ATOMIC_REQUESTS`](super::DeviceFlags)).
    pub const ATOMIC: Self = Self(1 << (OP_BITS + 4));

    const ALL: u32 =
        Self::SYNC.0 | Self::FUA.0 | Self::PREFLUSH.0 | Self::NOUNMAP.0 | Self::ATOMIC.0;

    /// Returns whether all flags of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for IoFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
