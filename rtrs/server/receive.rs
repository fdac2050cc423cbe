// SPDX-License-Identifier: GPL-2.0-only

//! Receives, and their memory. [`super::io::recv`] handles what arrives in them.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::imm::{
    split_inline_imm,
    INLINE_IMM_SIZE, //
};

use crate::{
    common::recv_buf::{
        RecvBuf,
        RecvBufs, //
    },
    rdma::{
        op::{
            HeldOp,
            Op, //
        },
        op_set::OpSet,
        pd::Pd,
        qp::QpRef,
        sge::RecvSegments,
        wc::{
            Wc,
            WcKind, //
        }, //
    }, //
};

use super::{
    eager_buf::EagerBuf,
    path::Conn, //
};

/// What can arrive in a receive.
#[derive(Clone, Copy)]
pub(super) enum ReceiveContent {
    /// An immediate, with an RDMA write.
    Imm,
    /// An inline immediate, as the device has no immediates.
    InlineImm,
    /// An immediate, with an RDMA write or an eager request.
    EagerRequest,
}

/// What arrived in a receive, with its immediate.
#[derive(Clone, Copy)]
pub(super) enum Arrival {
    /// An immediate.
    Imm(u32),
    /// A message that should be an eager request.
    EagerRequest(u32),
}

/// The memory of a receive. It has a tag of its own, which takes one instruction to look at.
#[repr(u8)]
enum Buffer {
    None,
    InlineImm(RecvBuf<INLINE_IMM_SIZE>),
    Eager(EagerBuf),
}

/// A posted receive, or an eager request in it.
pub(super) struct Receive(Buffer);

impl Receive {
    /// Creates `count` of them, with buffers for `content`.
    pub(super) fn set(
        pd: &Arc<Pd>,
        count: u32,
        content: ReceiveContent,
    ) -> Result<Arc<OpSet<Self>>> {
        let mut receives = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        let mut push =
            |buffer| -> Result { Ok(receives.push(Op::new(Self(buffer))?, GFP_KERNEL)?) };
        match content {
            ReceiveContent::Imm => {
                for _ in 0..count {
                    push(Buffer::None)?;
                }
            }
            ReceiveContent::InlineImm => {
                let bufs = RecvBufs::new(pd, count)?;
                for index in 0..count {
                    push(Buffer::InlineImm(bufs.get(index)?))?;
                }
            }
            ReceiveContent::EagerRequest => {
                for _ in 0..count {
                    // Each by itself, as together they may be more than the kernel allocates.
                    let header = RecvBufs::new(pd, 1)?.get(0)?;
                    push(Buffer::Eager(EagerBuf::new(pd, header)?))?;
                }
            }
        }
        OpSet::new(receives)
    }

    /// Posts it.
    pub(super) fn post(this: HeldOp<Self>, qp: &QpRef<'_, Conn>) -> Result {
        qp.post_recv(this, Self::build).map_err(|(_, e)| e)
    }

    fn build<'a>(&'a self, segments: &mut RecvSegments<'a>) -> Result {
        match &self.0 {
            Buffer::None => Ok(()),
            Buffer::InlineImm(buf) => segments.push(buf.sge()?),
            Buffer::Eager(buf) => buf.build(segments),
        }
    }

    /// Returns the eager request in it, or space for one.
    #[inline]
    pub(super) fn eager(&self) -> Option<&EagerBuf> {
        match &self.0 {
            Buffer::Eager(buf) => Some(buf),
            _ => None,
        }
    }

    /// Returns the eager request in it, to be changed.
    #[inline]
    pub(super) fn eager_mut(&mut self) -> Option<&mut EagerBuf> {
        match &mut self.0 {
            Buffer::Eager(buf) => Some(buf),
            _ => None,
        }
    }

    /// Returns what arrived with `wc`. `None` if it is a message without an immediate, or a message
    /// where there should be none.
    #[inline]
    pub(super) fn arrival(&self, wc: &Wc) -> Option<Arrival> {
        match (&self.0, wc.kind()) {
            (Buffer::InlineImm(inline), _) => {
                let mut bytes = [0; INLINE_IMM_SIZE];
                let (imm, _) = split_inline_imm(inline.read(wc, &mut bytes))?;
                Some(Arrival::Imm(imm))
            }
            (_, WcKind::RecvWriteImm) => wc.imm().map(Arrival::Imm),
            (Buffer::Eager(_), WcKind::Recv) => wc.imm().map(Arrival::EagerRequest),
            _ => None,
        }
    }
}
