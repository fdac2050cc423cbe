// SPDX-License-Identifier: GPL-2.0-only

//! Immediates: what arrives on the connections of a path that is up.

use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::imm::Imm;

use super::chunk;
use super::conn::Conn;
use crate::rdma::op::Idle;
use crate::rdma::op::Op;
use crate::rdma::op::Operation;
use crate::rdma::qp::QpRef;
use crate::rdma::wc::Wc;
use crate::rdma::wc::WcKind;
use crate::support::log::Plain;

/// A posted receive without a buffer: takes an immediate and nothing else.
pub(super) struct Receive;

impl Receive {
    /// A new one, to be posted.
    pub(super) fn new() -> Result<Idle<Self>> {
        Op::new(Self)?.begin().ok_or(EBUSY)
    }
}

impl Operation for Receive {
    type Context = Conn;

    fn finish(op: Idle<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();

        if !conn.check(wc, "receive") {
            return;
        }
        // Posted again before the answer, as the client counts on it then.
        if let Err((_, e)) = qp.post_recv(op, |_| Ok(None)) {
            conn.path.fail(fmt!("receive not posted: {e:?}"));
            return;
        }
        conn.path.heartbeat.heard();
        match (wc.kind(), wc.imm()) {
            (WcKind::RecvWriteImm, Some(imm)) => dispatch(conn, qp, imm),
            _ => conn.path.fail(fmt!("message without an immediate")),
        }
    }
}

fn dispatch(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, imm: u32) {
    match Imm::decode(imm) {
        Ok(Imm::IoReq(place)) => chunk::arrive(conn, place),
        Ok(Imm::Heartbeat) if conn.id == 0 => {
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
