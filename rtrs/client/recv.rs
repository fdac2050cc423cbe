// SPDX-License-Identifier: GPL-2.0-only

//! Receives: responses, new keys and heartbeats of the server.

use kernel::prelude::*;

use rnbd_proto::{
    imm::{
        split_inline_imm,
        Imm,
        INLINE_IMM_SIZE, //
    },
    wire::rtrs::RKEY_RSP_SIZE, //
};

use crate::{
    common::recv_buf::{
        RecvBuf,
        RecvBufs, //
    },
    kernel_ext::clock,
    pr_err_ratelimited,
    rdma::{
        connection::Connection,
        op::{
            HeldOp,
            Op,
            Operation, //
        },
        qp::QpRef,
        wc::Wc, //
    }, //
};

use super::{
    conn::Conn,
    response, //
};

/// Longest message that may arrive at any time, in bytes: an inline immediate, for devices
/// without immediates, and a new key.
const MESSAGE_SIZE: usize = INLINE_IMM_SIZE + RKEY_RSP_SIZE;

/// A posted receive for one short message.
struct Receive(RecvBuf<MESSAGE_SIZE>);

/// Posts `count` receives for short messages.
pub(super) fn post_receives(connection: &Connection<Conn>, count: u32) -> Result {
    let bufs = RecvBufs::new(connection.pd(), count)?;
    for index in 0..count {
        let receive = Op::new(Receive(bufs.get(index)?))?;
        post(receive.begin().ok_or(EBUSY)?, &connection.qp())?;
    }
    Ok(())
}

fn post(this: HeldOp<Receive>, qp: &QpRef<'_, Conn>) -> Result {
    qp.post_recv(this, |receive| receive.0.sge().map(Some))
        .map_err(|(_, e)| e)
}

impl Operation for Receive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();
        let link = conn.link();
        if !wc.is_ok() {
            if !wc.is_flush() {
                pr_err_ratelimited!("{link}: receiving failed: {}\n", wc.status_name());
            }
            link.fail("the connection broke");
            return;
        }
        link.heartbeat().received();
        let mut bytes = [0; MESSAGE_SIZE];
        let mut message = op.0.read(wc, &mut bytes);
        // The server relies on this receive as soon as it learns of the next free message
        // id, so post it before.
        if post(op, qp).is_err() {
            link.fail("a receive could not be posted");
        }
        if let Some(rkey) = wc.invalidated_rkey() {
            conn.record_invalidated(rkey);
        }
        let mut imm = wc.imm();
        if qp.inline_imm() {
            if let Some((inline, rest)) = split_inline_imm(message) {
                (imm, message) = (Some(inline), rest);
            }
        }
        let handled = match imm.map(Imm::decode) {
            None if wc.invalidated_rkey().is_some() => Ok(()),
            None => Err("message without an immediate"),
            Some(Err(_)) => Err("unknown immediate"),
            Some(Ok(Imm::IoRsp(rsp))) => response::handle(qp, rsp, message),
            Some(Ok(Imm::Heartbeat(count))) if conn.is_control() => {
                link.event_count_received(count);
                qp.post_imm(Imm::HeartbeatAck.encode())
                    .map_err(|_| "a heartbeat could not be acknowledged")
            }
            Some(Ok(Imm::HeartbeatAck)) if conn.is_control() => {
                link.heartbeat().acked(clock::now_ns());
                Ok(())
            }
            Some(Ok(_)) => Err("immediate that does not belong here"),
        };
        if let Err(why) = handled {
            link.fail(why);
        }
    }
}
