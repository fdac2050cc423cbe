// SPDX-License-Identifier: GPL-2.0-only

//! Receives: the immediates, or inline immediates, that arrive on the connections of a path.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::imm::{
    split_inline_imm,
    Imm,
    INLINE_IMM_SIZE, //
};

use crate::{
    kernel_ext::log::Plain,
    rdma::{
        dma::{
            DmaBuf,
            DmaDir, //
        },
        op::{
            HeldOp,
            Op,
            Operation, //
        },
        pd::Pd,
        qp::QpRef,
        wc::{
            Wc,
            WcKind, //
        }, //
    },
    server::path::Conn, //
};

use super::submit;

/// Buffers for the inline immediates of a connection whose device has no immediates.
pub(in crate::server) struct InlineImmBufs(Arc<DmaBuf>);

impl InlineImmBufs {
    /// Allocates `count` buffers.
    pub(in crate::server) fn new(pd: &Arc<Pd>, count: u32) -> Result<Self> {
        let size = (count as usize)
            .checked_mul(INLINE_IMM_SIZE)
            .ok_or(EINVAL)?;
        let buf = DmaBuf::new(pd, size, DmaDir::FromDevice)?;
        Ok(Self(Arc::new(buf, GFP_KERNEL)?))
    }

    /// Returns buffer `index`.
    pub(in crate::server) fn get(&self, index: u32) -> Result<InlineImmBuf> {
        let offset = (index as usize)
            .checked_mul(INLINE_IMM_SIZE)
            .ok_or(EINVAL)?;
        Ok(InlineImmBuf {
            buf: self.0.clone(),
            offset,
        })
    }
}

/// Buffer for one inline immediate.
pub(in crate::server) struct InlineImmBuf {
    buf: Arc<DmaBuf>,
    offset: usize,
}

impl InlineImmBuf {
    /// Returns the immediate that arrived with `wc`. `None` if the message is not one.
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

/// A posted receive of an immediate or an inline immediate.
pub(in crate::server) struct Receive {
    inline: Option<InlineImmBuf>,
}

impl Receive {
    /// Creates one to be posted, with a buffer where immediates are inline.
    pub(in crate::server) fn new(inline: Option<InlineImmBuf>) -> Result<HeldOp<Self>> {
        Op::new(Self { inline })?.begin().ok_or(EBUSY)
    }

    /// Posts it.
    pub(in crate::server) fn post(this: HeldOp<Self>, qp: &QpRef<'_, Conn>) -> Result {
        qp.post_recv(this, |op| match &op.inline {
            Some(inline) => inline.buf.sge(inline.offset, INLINE_IMM_SIZE).map(Some),
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
        let path = conn.path();

        if !conn.check(wc, "receive") {
            return;
        }
        let imm = match &op.inline {
            Some(inline) => inline.read(wc),
            None if wc.kind() == WcKind::RecvWriteImm => wc.imm(),
            None => None,
        };
        // Posted again before the response, as the client counts on it from then on.
        if let Err(e) = Self::post(op, qp) {
            path.fail(fmt!("receive not posted: {e:?}"));
            return;
        }
        path.heartbeat().received();
        match imm {
            Some(imm) => handle(conn, qp, imm),
            None => path.fail(fmt!("message without an immediate")),
        }
    }
}

/// Handles an immediate that arrived on `conn`.
fn handle(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, imm: u32) {
    let path = conn.path();
    match Imm::decode(imm) {
        Ok(Imm::IoReq(payload)) => submit::request_arrived(conn, payload),
        Ok(Imm::Heartbeat(_)) if conn.id() == 0 => {
            if let Err(e) = qp.post_imm(Imm::HeartbeatAck.encode()) {
                path.fail(fmt!("heartbeat acknowledgement not posted: {e:?}"));
            }
        }
        Ok(Imm::HeartbeatAck) if conn.id() == 0 => {}
        Ok(_) => path.fail(fmt!("immediate {imm:#x} on connection {}", conn.id())),
        Err(e) => path.fail(fmt!("{}", Plain(e))),
    }
}
