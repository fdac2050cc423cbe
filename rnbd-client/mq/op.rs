// SPDX-License-Identifier: GPL-2.0-only

//! Operation and flags of a request (`enum req_op`, `REQ_*`).
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use kernel::{
    bindings,
    prelude::*, //
};

use rnbd_proto::wire::rnbd::BlockOp;

/// Returns the operation in `flags`, the `cmd_flags` of a request.
///
/// # Errors
///
/// `EOPNOTSUPP` for the operations of zoned devices and drivers, which these disks never get.
#[inline]
pub(super) fn block_op(flags: bindings::blk_opf_t) -> Result<BlockOp> {
    let mask = (1 << bindings::REQ_OP_BITS) - 1;
    match flags & mask {
        bindings::req_op_REQ_OP_READ => Ok(BlockOp::Read),
        bindings::req_op_REQ_OP_WRITE => Ok(BlockOp::Write),
        bindings::req_op_REQ_OP_FLUSH => Ok(BlockOp::Flush),
        bindings::req_op_REQ_OP_DISCARD => Ok(BlockOp::Discard),
        bindings::req_op_REQ_OP_SECURE_ERASE => Ok(BlockOp::SecureErase),
        bindings::req_op_REQ_OP_WRITE_ZEROES => Ok(BlockOp::WriteZeroes),
        _ => Err(EOPNOTSUPP),
    }
}

/// Modifiers of a request.
#[derive(Clone, Copy)]
pub(crate) struct Flags(bindings::blk_opf_t);

impl Flags {
    #[inline]
    pub(super) fn new(flags: bindings::blk_opf_t) -> Self {
        Self(flags)
    }

    fn has(self, bit: bindings::req_flag_bits) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// A task waits for this request.
    pub(crate) fn sync(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_SYNC)
    }

    /// The data must be durable when the request completes.
    pub(crate) fn fua(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_FUA)
    }

    /// The write cache must be flushed before the request is executed.
    pub(crate) fn preflush(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_PREFLUSH)
    }

    /// The data must be written as a whole or not at all.
    pub(crate) fn atomic(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_ATOMIC)
    }

    /// WRITE ZEROES must keep the blocks allocated.
    pub(crate) fn nounmap(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_NOUNMAP)
    }
}
