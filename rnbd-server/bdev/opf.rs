// SPDX-License-Identifier: GPL-2.0-only

//! Operation and flags of a bio.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use core::ops::BitOr;

use kernel::bindings;

/// The bits of the operation.
const OP_MASK: bindings::blk_opf_t = (1 << bindings::REQ_OP_BITS) - 1;

/// Operation and flags of a bio, `blk_opf_t` of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opf(bindings::blk_opf_t);

/// Flags that an operation may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpFlag(bindings::blk_opf_t);

impl Opf {
    /// Read sectors.
    pub(crate) const READ: Self = Self(bindings::req_op_REQ_OP_READ);
    /// Write sectors.
    pub(crate) const WRITE: Self = Self(bindings::req_op_REQ_OP_WRITE);
    /// Empty the write cache: to the block layer, a write of nothing after a flush.
    pub(crate) const FLUSH: Self = Self(Self::WRITE.0 | OpFlag::PREFLUSH.0);
    /// Forget sectors.
    pub(crate) const DISCARD: Self = Self(bindings::req_op_REQ_OP_DISCARD);
    /// Forget sectors for good.
    pub(crate) const SECURE_ERASE: Self = Self(bindings::req_op_REQ_OP_SECURE_ERASE);
    /// Fill sectors with zeroes.
    pub(crate) const WRITE_ZEROES: Self = Self(bindings::req_op_REQ_OP_WRITE_ZEROES);

    /// Whether memory is read or written by it, of as many bytes as the range has; any
    /// other one is of sectors alone.
    pub(super) fn has_data(self) -> bool {
        let op = self.0 & OP_MASK;
        op == bindings::req_op_REQ_OP_READ || op == bindings::req_op_REQ_OP_WRITE
    }

    /// The value for C.
    pub(super) fn as_raw(self) -> bindings::blk_opf_t {
        self.0
    }
}

impl OpFlag {
    /// Somebody waits for it.
    pub(crate) const SYNC: Self = Self(1 << bindings::req_flag_bits___REQ_SYNC);
    /// Durable when done.
    pub(crate) const FUA: Self = Self(1 << bindings::req_flag_bits___REQ_FUA);
    /// Flush first.
    pub(crate) const PREFLUSH: Self = Self(1 << bindings::req_flag_bits___REQ_PREFLUSH);
    /// Keep the space of what is zeroed.
    pub(crate) const NOUNMAP: Self = Self(1 << bindings::req_flag_bits___REQ_NOUNMAP);
}

impl BitOr<OpFlag> for Opf {
    type Output = Self;

    fn bitor(self, flag: OpFlag) -> Self {
        Self(self.0 | flag.0)
    }
}
