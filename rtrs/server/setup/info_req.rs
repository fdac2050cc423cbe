// SPDX-License-Identifier: GPL-2.0-only

//! INFO_REQ, by which the client names its session on the control connection.

use kernel::prelude::*;

use rnbd_proto::wire::rtrs::{
    InfoReq,
    INFO_REQ_SIZE, //
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
        qp::QpRef,
        wc::{
            Wc,
            WcKind, //
        }, //
    },
    server::path::Conn, //
};

use super::bring_up;

/// The receive of an INFO_REQ. Posted once, before the control connection is accepted: a second
/// INFO_REQ finds no receive.
pub(super) struct InfoReceive {
    buf: DmaBuf,
}

impl InfoReceive {
    /// Posts the receive.
    pub(super) fn post(qp: &QpRef<'_, Conn>) -> Result {
        let pd = qp.context().path().pd();
        let buf = DmaBuf::new(pd, INFO_REQ_SIZE, DmaDir::FromDevice)?;
        let op = Op::new(Self { buf })?.begin().ok_or(EBUSY)?;

        qp.post_recv(op, |op| op.buf.sge(0, INFO_REQ_SIZE).map(Some))
            .map_err(|(_, e)| e)
    }

    /// Copies the message to `bytes` and returns its length.
    fn read(&self, wc: &Wc, bytes: &mut [u8; INFO_REQ_SIZE]) -> Result<usize> {
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
        let path = conn.path();

        if !conn.check(wc, "receive of the session's name") {
            return;
        }
        let mut bytes = [0; INFO_REQ_SIZE];
        let parsed = match op.read(wc, &mut bytes) {
            Ok(len) => InfoReq::parse(bytes.get(..len).unwrap_or_default()),
            Err(e) => return path.fail(fmt!("bad first message: {e:?}")),
        };
        drop(op);
        match parsed {
            Ok(info) => {
                if let Err(e) = bring_up::begin(conn, qp, info.name) {
                    path.fail(fmt!("set-up failed: {e:?}"));
                }
            }
            Err(e) => path.fail(fmt!("bad first message: {}", Plain(e))),
        }
    }
}
