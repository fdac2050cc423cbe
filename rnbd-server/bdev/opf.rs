// SPDX-License-Identifier: GPL-2.0-only

//! Operation and flags of a bio, and their translation from the protocol.
//!
//! C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)

use core::ops::BitOr;

use kernel::bindings;

use rnbd_proto::{
    block_command::BlockCommand,
    wire::rnbd::{
        BlockOp,
        IoFlags, //
    }, //
};

/// The bits of the operation within `blk_opf_t`.
const OP_MASK: bindings::blk_opf_t = (1 << bindings::REQ_OP_BITS) - 1;

/// Operation and flags of a bio, `blk_opf_t` of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opf(bindings::blk_opf_t);

/// Flags that an operation may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpFlag(bindings::blk_opf_t);

impl Opf {
    /// Reads sectors.
    pub(crate) const READ: Self = Self(bindings::req_op_REQ_OP_READ);
    /// Writes sectors, like a local task that waits for its direct I/O.
    ///
    /// A disk's writeback throttling (`block/blk-wbt.c`) makes the submitter of any other write
    /// sleep, whatever [`OpFlag::NOWAIT`] says. The client throttles the writeback of its page
    /// cache itself. Other targets of the kernel write so, too (`nvmet_bdev_execute_rw`).
    pub(crate) const WRITE: Self =
        Self(bindings::req_op_REQ_OP_WRITE | OpFlag::SYNC.0 | OpFlag::IDLE.0);
    /// Flushes the write cache: to the block layer, an empty write with a preflush.
    pub(crate) const FLUSH: Self = Self(Self::WRITE.0 | OpFlag::PREFLUSH.0);
    /// Discards sectors.
    pub(crate) const DISCARD: Self = Self(bindings::req_op_REQ_OP_DISCARD);
    /// Erases sectors securely.
    pub(crate) const SECURE_ERASE: Self = Self(bindings::req_op_REQ_OP_SECURE_ERASE);
    /// Fills sectors with zeroes.
    pub(crate) const WRITE_ZEROES: Self = Self(bindings::req_op_REQ_OP_WRITE_ZEROES);

    /// Whether the operation transfers data, as many bytes as its range has. Others have
    /// a range only.
    pub(super) fn has_data(self) -> bool {
        let op = self.0 & OP_MASK;
        op == bindings::req_op_REQ_OP_READ || op == bindings::req_op_REQ_OP_WRITE
    }

    /// Whether [`OpFlag::NOWAIT`] keeps the submitter from sleeping.
    ///
    /// It does not for ranges without data: they are split with an allocation that may sleep, and
    /// writeback throttling limits the discards in flight.
    #[inline]
    pub(crate) fn can_be_nowait(self) -> bool {
        self.has_data()
    }

    /// Whether a bio fails with `EAGAIN` rather than sleep.
    #[inline]
    pub(super) fn is_nowait(self) -> bool {
        self.0 & OpFlag::NOWAIT.0 != 0
    }

    /// Whether the data is durable on completion.
    pub(crate) fn is_fua(self) -> bool {
        self.0 & OpFlag::FUA.0 != 0
    }

    /// The value for C.
    pub(super) fn as_raw(self) -> bindings::blk_opf_t {
        self.0
    }
}

impl OpFlag {
    /// A task waits for completion.
    pub(crate) const SYNC: Self = Self(1 << bindings::req_flag_bits___REQ_SYNC);
    /// The task submits more soon, if together with [`Self::SYNC`].
    const IDLE: Self = Self(1 << bindings::req_flag_bits___REQ_IDLE);
    /// The data is durable on completion.
    pub(crate) const FUA: Self = Self(1 << bindings::req_flag_bits___REQ_FUA);
    /// The cache is flushed first.
    pub(crate) const PREFLUSH: Self = Self(1 << bindings::req_flag_bits___REQ_PREFLUSH);
    /// Fails with `EAGAIN` rather than sleep.
    pub(crate) const NOWAIT: Self = Self(1 << bindings::req_flag_bits___REQ_NOWAIT);
    /// Zeroed blocks stay allocated.
    pub(crate) const NOUNMAP: Self = Self(1 << bindings::req_flag_bits___REQ_NOUNMAP);
    /// The data are written as a whole or not at all.
    pub(crate) const ATOMIC: Self = Self(1 << bindings::req_flag_bits___REQ_ATOMIC);
}

impl BitOr<OpFlag> for Opf {
    type Output = Self;

    fn bitor(self, flag: OpFlag) -> Self {
        Self(self.0 | flag.0)
    }
}

impl From<BlockCommand> for Opf {
    fn from(command: BlockCommand) -> Self {
        let flags = [
            (IoFlags::SYNC, OpFlag::SYNC),
            (IoFlags::FUA, OpFlag::FUA),
            (IoFlags::PREFLUSH, OpFlag::PREFLUSH),
            (IoFlags::NOUNMAP, OpFlag::NOUNMAP),
            (IoFlags::ATOMIC, OpFlag::ATOMIC),
        ];
        let op = match command.op {
            BlockOp::Read => Self::READ,
            BlockOp::Write => Self::WRITE,
            BlockOp::Flush => Self::FLUSH,
            BlockOp::Discard => Self::DISCARD,
            BlockOp::SecureErase => Self::SECURE_ERASE,
            BlockOp::WriteZeroes => Self::WRITE_ZEROES,
        };

        flags
            .into_iter()
            .filter(|(flag, _)| command.flags.contains(*flag))
            .fold(op, |opf, (_, bit)| opf | bit)
    }
}
