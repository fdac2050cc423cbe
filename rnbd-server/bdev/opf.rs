// SPDX-License-Identifier: GPL-2.0-only

//! Operation and flags of a bio.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use core::ops::BitOr;

use kernel::bindings;

/// Operation and flags of a bio, `blk_opf_t` of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opf(bindings::blk_opf_t);

impl Opf {
    /// Read sectors.
    pub(crate) const READ: Self = Self(bindings::req_op_REQ_OP_READ);
    /// Write sectors.
    pub(crate) const WRITE: Self = Self(bindings::req_op_REQ_OP_WRITE);
    /// Empty the write cache: to the block layer, a write of nothing after a flush.
    pub(crate) const FLUSH: Self = Self(Self::WRITE.0 | Self::PREFLUSH.0);
    /// Forget sectors.
    pub(crate) const DISCARD: Self = Self(bindings::req_op_REQ_OP_DISCARD);
    /// Forget sectors for good.
    pub(crate) const SECURE_ERASE: Self = Self(bindings::req_op_REQ_OP_SECURE_ERASE);
    /// Fill sectors with zeroes.
    pub(crate) const WRITE_ZEROES: Self = Self(bindings::req_op_REQ_OP_WRITE_ZEROES);

    /// Somebody waits for it.
    pub(crate) const SYNC: Self = Self(1 << bindings::req_flag_bits___REQ_SYNC);
    /// Durable when done.
    pub(crate) const FUA: Self = Self(1 << bindings::req_flag_bits___REQ_FUA);
    /// Flush first.
    pub(crate) const PREFLUSH: Self = Self(1 << bindings::req_flag_bits___REQ_PREFLUSH);
    /// Keep the space of what is zeroed.
    pub(crate) const NOUNMAP: Self = Self(1 << bindings::req_flag_bits___REQ_NOUNMAP);

    /// The value for C.
    pub(super) fn as_raw(self) -> bindings::blk_opf_t {
        self.0
    }
}

impl BitOr for Opf {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
