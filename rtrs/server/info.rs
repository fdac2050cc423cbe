// SPDX-License-Identifier: GPL-2.0-only

//! The exchange that brings a path up: INFO_REQ in, INFO_RSP out, both over
//! the connection for control.

use kernel::prelude::*;
use rnbd_proto::wire::rtrs::info_rsp_size;
use rnbd_proto::wire::rtrs::InfoReq;
use rnbd_proto::wire::rtrs::InfoRsp;
use rnbd_proto::wire::rtrs::SgDesc;
use rnbd_proto::wire::rtrs::INFO_REQ_SIZE;

use super::conn::Conn;
use super::setup;
use crate::kernel_ext::log::Plain;
use crate::rdma::dma::DmaBuf;
use crate::rdma::dma::DmaDir;
use crate::rdma::op::HeldOp;
use crate::rdma::op::Op;
use crate::rdma::op::Operation;
use crate::rdma::qp::QpRef;
use crate::rdma::wc::Wc;
use crate::rdma::wc::WcKind;
use rnbd_proto::op_state::AwaitedEvents;

/// The receive of an INFO_REQ. Posted once, before the connection for control
/// is accepted: a second request finds none.
pub(super) struct InfoReceive {
    buf: DmaBuf,
}

impl InfoReceive {
    /// Posts the receive.
    pub(super) fn post(qp: &QpRef<'_, Conn>) -> Result {
        let buf = DmaBuf::new(&qp.context().path.pd, INFO_REQ_SIZE, DmaDir::FromDevice)?;
        let idle = Op::new(Self { buf })?.begin().ok_or(EBUSY)?;

        qp.post_recv(idle, |op| op.buf.sge(0, INFO_REQ_SIZE).map(Some))
            .map_err(|(_, e)| e)
    }

    fn take(&self, wc: &Wc, bytes: &mut [u8; INFO_REQ_SIZE]) -> Result<usize> {
        if wc.kind() != WcKind::Recv {
            return Err(EPROTO);
        }
        let len = wc.byte_len().min(INFO_REQ_SIZE);
        self.buf.sync_for_cpu(0, len);
        self.buf.read(0, bytes.get_mut(..len).ok_or(EMSGSIZE)?)?;
        Ok(len)
    }
}

impl Operation for InfoReceive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();

        if !conn.check(wc, "receive of the session's name") {
            return;
        }
        let mut bytes = [0; INFO_REQ_SIZE];
        let parsed = match op.take(wc, &mut bytes) {
            Ok(len) => InfoReq::parse(bytes.get(..len).unwrap_or_default()),
            Err(e) => return conn.path.fail(fmt!("bad first message: {e:?}")),
        };
        drop(op);
        match parsed {
            Ok(info) => {
                if let Err(e) = setup::begin(conn, qp, info.name) {
                    conn.path.fail(fmt!("set-up failed: {e:?}"));
                }
            }
            Err(reason) => conn.path.fail(fmt!("bad first message: {}", Plain(reason))),
        }
    }
}

/// The send of an INFO_RSP.
pub(super) struct InfoSend {
    buf: DmaBuf,
}

impl InfoSend {
    /// Tells the client where the chunks are.
    pub(super) fn post<I>(qp: &QpRef<'_, Conn>, chunks: I) -> Result
    where
        I: ExactSizeIterator<Item = SgDesc>,
    {
        let count = u16::try_from(chunks.len())?;
        let len = info_rsp_size(count);
        let mut bytes = KVVec::from_elem(0_u8, len, GFP_KERNEL)?;
        let len = InfoRsp::encode(chunks, &mut bytes)
            .map_err(|reason| Error::from_errno(-reason.errno()))?;

        let buf = DmaBuf::new(&qp.context().path.pd, len, DmaDir::ToDevice)?;
        buf.write(0, bytes.get(..len).ok_or(EMSGSIZE)?)?;
        buf.sync_for_device(0, len);
        let idle = Op::new(Self { buf })?.begin().ok_or(EBUSY)?;

        qp.post_send(idle, AwaitedEvents::Send, |op, chain| {
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
