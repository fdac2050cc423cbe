// SPDX-License-Identifier: GPL-2.0-only

//! Immediates, or the notes in their place: what arrives on the connections of a path
//! that is up.

use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::imm::split_inline_imm;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::INLINE_IMM_SIZE;

use super::chunk;
use super::conn::Conn;
use crate::kernel_ext::log::Plain;
use crate::rdma::dma::DmaBuf;
use crate::rdma::dma::DmaDir;
use crate::rdma::op::HeldOp;
use crate::rdma::op::Op;
use crate::rdma::op::Operation;
use crate::rdma::pd::Pd;
use crate::rdma::qp::QpRef;
use crate::rdma::wc::Wc;
use crate::rdma::wc::WcKind;

/// Room for the notes that arrive on a connection whose peer has no immediates.
pub(super) struct InlineImmBufs(Arc<DmaBuf>);

impl InlineImmBufs {
    /// Room for `count` of them.
    pub(super) fn new(pd: &Arc<Pd>, count: u32) -> Result<Self> {
        let size = (count as usize)
            .checked_mul(INLINE_IMM_SIZE)
            .ok_or(EINVAL)?;
        let buf = DmaBuf::new(pd, size, DmaDir::FromDevice)?;
        Ok(Self(Arc::new(buf, GFP_KERNEL)?))
    }

    /// One of them.
    pub(super) fn place(&self, index: u32) -> Result<InlineImmBuf> {
        let offset = (index as usize)
            .checked_mul(INLINE_IMM_SIZE)
            .ok_or(EINVAL)?;
        Ok(InlineImmBuf {
            buf: self.0.clone(),
            offset,
        })
    }
}

/// Room for one note.
pub(super) struct InlineImmBuf {
    buf: Arc<DmaBuf>,
    offset: usize,
}

impl InlineImmBuf {
    /// The note that arrived in `wc`, if it is one.
    fn read(&self, wc: &Wc) -> Option<u32> {
        if wc.kind() != WcKind::Recv || wc.byte_len() != INLINE_IMM_SIZE {
            return None;
        }
        let mut bytes = [0; INLINE_IMM_SIZE];
        self.buf.sync_for_cpu(self.offset, INLINE_IMM_SIZE);
        self.buf.read(self.offset, &mut bytes).ok()?;
        split_inline_imm(&bytes).map(|(imm, _)| imm)
    }
}

/// A posted receive: takes an immediate, or a note in the place of one.
pub(super) struct Receive {
    place: Option<InlineImmBuf>,
}

impl Receive {
    /// A new one, to be posted; with room where immediates travel as notes.
    pub(super) fn new(place: Option<InlineImmBuf>) -> Result<HeldOp<Self>> {
        Op::new(Self { place })?.begin().ok_or(EBUSY)
    }

    /// Makes it available to the client.
    pub(super) fn post(this: HeldOp<Self>, qp: &QpRef<'_, Conn>) -> Result {
        qp.post_recv(this, |op| match &op.place {
            Some(place) => place.buf.sge(place.offset, INLINE_IMM_SIZE).map(Some),
            None => Ok(None),
        })
        .map_err(|(_, e)| e)
    }
}

impl Operation for Receive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();

        if !conn.check(wc, "receive") {
            return;
        }
        let imm = match &op.place {
            Some(place) => place.read(wc),
            None if wc.kind() == WcKind::RecvWriteImm => wc.imm(),
            None => None,
        };
        // Posted again before the answer, as the client counts on it then.
        if let Err(e) = Self::post(op, qp) {
            conn.path.fail(fmt!("receive not posted: {e:?}"));
            return;
        }
        conn.path.heartbeat.received();
        match imm {
            Some(imm) => dispatch(conn, qp, imm),
            None => conn.path.fail(fmt!("message without an immediate")),
        }
    }
}

fn dispatch(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, imm: u32) {
    match Imm::decode(imm) {
        Ok(Imm::IoReq(place)) => chunk::arrive(conn, place),
        Ok(Imm::Heartbeat(_)) if conn.id == 0 => {
            if let Err(e) = qp.post_imm(Imm::HeartbeatAck.encode()) {
                conn.path.fail(fmt!("heartbeat not answered: {e:?}"));
            }
        }
        Ok(Imm::HeartbeatAck) if conn.id == 0 => {}
        Ok(_) => conn
            .path
            .fail(fmt!("immediate {imm:#x} on connection {}", conn.id)),
        Err(reason) => conn.path.fail(fmt!("{}", Plain(reason))),
    }
}
