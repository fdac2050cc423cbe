// SPDX-License-Identifier: GPL-2.0-only

//! Receives: responses, with data or new keys, and heartbeats of the server.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    imm::{
        split_inline_imm,
        Imm,
        INLINE_IMM_SIZE, //
    },
    wire::rtrs::{
        eager,
        RKEY_RSP_SIZE, //
    }, //
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
        dma::{
            DmaBuf,
            DmaDir, //
        },
        op::{
            HeldOp,
            Op,
            Operation, //
        },
        op_set::OpSet,
        pd::Pd,
        qp::QpRef,
        wc::{
            Wc,
            WcKind, //
        }, //
    }, //
};

use super::{
    conn::Conn,
    response, //
};

/// Longest message that may arrive at any time, in bytes: an inline immediate, for devices
/// without immediates, and a new key.
const MESSAGE_SIZE: usize = INLINE_IMM_SIZE + RKEY_RSP_SIZE;

/// A posted receive.
enum Receive {
    /// For a short message.
    Short(RecvBuf<MESSAGE_SIZE>),
    /// For a response with the data of a READ.
    Data(DmaBuf),
}

/// Posts `count` receives for short messages.
pub(super) fn post_receives(connection: &Connection<Conn>, count: u32) -> Result {
    let bufs = RecvBufs::new(connection.pd(), count)?;
    post_all(connection, count, |index| {
        Ok(Receive::Short(bufs.get(index)?))
    })
}

/// Posts `count` receives for responses with data.
pub(super) fn post_data_receives(connection: &Connection<Conn>, count: u32) -> Result {
    let pd: &Arc<Pd> = connection.pd();
    post_all(connection, count, |_| {
        DmaBuf::new(pd, eager::DATA_SIZE as usize, DmaDir::FromDevice).map(Receive::Data)
    })
}

fn post_all(
    connection: &Connection<Conn>,
    count: u32,
    make: impl Fn(u32) -> Result<Receive>,
) -> Result {
    let mut receives = KVec::with_capacity(count as usize, GFP_KERNEL)?;
    for index in 0..count {
        receives.push(Op::new(make(index)?)?, GFP_KERNEL)?;
    }
    let receives = OpSet::new(receives)?;
    connection.qp().keep(&receives)?;
    for receive in receives.iter() {
        post(receive.begin().ok_or(EBUSY)?, &connection.qp())?;
    }
    Ok(())
}

fn post(this: HeldOp<Receive>, qp: &QpRef<'_, Conn>) -> Result {
    qp.post_recv(this, |receive, segments| {
        segments.push(match receive {
            Receive::Short(buf) => buf.sge()?,
            Receive::Data(buf) => buf.sge(0, buf.len())?,
        })
    })
    .map_err(|(_, e)| e)
}

impl Operation for Receive {
    type Context = Conn;

    #[inline]
    fn finish(mut op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();
        let link = conn.link();
        if !wc.is_ok() {
            if !wc.is_flush() {
                pr_err_ratelimited!(link => "{link}: receiving failed: {}\n", wc.status_name());
            }
            link.fail("the connection broke");
            return;
        }
        link.heartbeat().received();
        let mut bytes = [0; MESSAGE_SIZE];
        let message = match &mut *op {
            Receive::Short(buf) => buf.read(wc, &mut bytes),
            Receive::Data(buf) => {
                let handled = data_arrived(qp, buf, wc);
                // One more is posted than requests are in flight, so there is one for the next
                // response, whose request may be under way already.
                let posted = post(op, qp).map_err(|_| "a receive could not be posted");
                if let Err(why) = handled.and(posted) {
                    link.fail(why);
                }
                return;
            }
        };
        // The server relies on this receive as soon as it learns of the next free message
        // id, so post it before.
        if post(op, qp).is_err() {
            link.fail("a receive could not be posted");
        }
        if let Err(why) = message_arrived(qp, message, wc) {
            link.fail(why);
        }
    }
}

/// Handles a response, and the data in `buf`.
#[inline]
fn data_arrived(
    qp: &QpRef<'_, Conn>,
    buf: &mut DmaBuf,
    wc: &Wc,
) -> core::result::Result<(), &'static str> {
    let len = match wc.kind() {
        WcKind::Recv => wc.byte_len(),
        _ => 0,
    };
    let data = buf.received(len).map_err(|_| "message that is too long")?;
    match wc.imm().map(Imm::decode) {
        Some(Ok(Imm::IoRsp(rsp))) => response::handle(qp, rsp, data),
        Some(Ok(_)) => Err("immediate that does not belong here"),
        Some(Err(_)) => Err("unknown immediate"),
        None => Err("message without an immediate"),
    }
}

/// Handles a short message, which may be empty, and its immediate.
fn message_arrived(
    qp: &QpRef<'_, Conn>,
    mut message: &[u8],
    wc: &Wc,
) -> core::result::Result<(), &'static str> {
    let conn = qp.context();
    let link = conn.link();
    if let Some(rkey) = wc.invalidated_rkey() {
        conn.record_invalidated(rkey);
    }
    let mut imm = wc.imm();
    if qp.inline_imm() {
        if let Some((inline, rest)) = split_inline_imm(message) {
            (imm, message) = (Some(inline), rest);
        }
    }
    match imm.map(Imm::decode) {
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
    }
}
