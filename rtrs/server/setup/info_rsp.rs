// SPDX-License-Identifier: GPL-2.0-only

//! INFO_RSP, by which the server tells the client where the chunks are.

use kernel::prelude::*;

use rnbd_proto::{
    op_state::AwaitedEvents,
    wire::rtrs::{
        info_rsp_size,
        InfoRsp,
        SgDesc, //
    }, //
};

use crate::{
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
        qp::QpRef,
        wc::Wc, //
    },
    server::path::Conn, //
};

/// The send of an INFO_RSP.
pub(super) struct InfoSend {
    buf: DmaBuf,
}

impl InfoSend {
    /// Posts the message that describes `chunks`.
    pub(super) fn post<I>(qp: &QpRef<'_, Conn>, chunks: I) -> Result
    where
        I: ExactSizeIterator<Item = SgDesc>,
    {
        let count = u16::try_from(chunks.len())?;
        let len = info_rsp_size(count);
        let mut bytes = KVVec::from_elem(0_u8, len, GFP_KERNEL)?;
        let len = InfoRsp::encode(chunks, &mut bytes).map_err(|e| Error::from_errno(-e.errno()))?;

        let buf = DmaBuf::new(qp.context().path().pd(), len, DmaDir::ToDevice)?;
        buf.write(0, bytes.get(..len).ok_or(EMSGSIZE)?)?;
        buf.sync_for_device(0, len);
        let op = Op::new(Self { buf })?.begin().ok_or(EBUSY)?;

        qp.post_send(op, AwaitedEvents::Send, |op, chain| {
            chain.send(&[op.buf.sge(0, op.buf.len())?])
        })
        .map_err(|(_, e)| e)
    }
}

impl Operation for InfoSend {
    type Context = Conn;

    fn finish(_op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        if let (Some(qp), Some(wc)) = (qp, wc) {
            qp.context().check(wc, "send of the chunks' keys");
        }
    }
}
