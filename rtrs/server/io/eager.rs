// SPDX-License-Identifier: GPL-2.0-only

//! Eager requests, from their arrival to the hand-over to the service.
//!
//! Their chunk has no part in how they come in, and its key stays as it is. It has memory without a
//! key for the data of a small READ, and is what the response is posted with.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    chunk_state::{
        ArrivalAction,
        RequestLocation, //
    },
    imm::Imm, //
};

use crate::{
    kernel_ext::log::Plain,
    rdma::{
        op::HeldOp,
        qp::QpRef,
        wc::Wc, //
    },
    server::{
        chunk::ChunkSlot,
        path::Conn,
        receive::Receive,
        request::PendingRequest, //
    }, //
};

use super::{
    dispatch,
    recv, //
};

/// Handles a message that arrived in `receive` with an immediate and the completion `wc`.
#[inline]
pub(super) fn arrived(qp: &QpRef<'_, Conn>, mut receive: HeldOp<Receive>, imm: u32, wc: &Wc) {
    let conn = qp.context();
    let path = conn.path();

    let payload = match Imm::decode(imm) {
        Ok(Imm::IoReq(payload)) => payload,
        Ok(_) => return path.fail(fmt!("message with immediate {imm:#x}")),
        Err(e) => return path.fail(fmt!("{}", Plain(e))),
    };
    let Some((slot, id, offset)) = recv::locate(conn, payload) else {
        return;
    };
    match receive
        .eager_mut()
        .map(|buf| buf.receive(wc, offset, path.offer()))
    {
        Some(Ok(())) => {}
        Some(Err(e)) => return path.fail(fmt!("malformed request: {}", Plain(e))),
        // Cannot happen: the caller has seen it.
        None => return,
    }
    if slot.state().serve_if_free() {
        return start(qp, slot, receive);
    }

    // The client may use the id again although the server has not noticed yet that its response
    // was sent. Kept before the state says so, as the request is taken out at once then.
    let early = path.data().early();
    if early.insert(id, receive).is_err() {
        return recv::refuse_id(conn, id);
    }
    let location = RequestLocation {
        connection: conn.id(),
        offset,
    };
    match slot.state().request_arrived(location) {
        ArrivalAction::Wait => {}
        ArrivalAction::Serve => match early.take(id) {
            Some(receive) => start(qp, slot, receive),
            None => recv::refuse_id(conn, id),
        },
        ArrivalAction::Violation => {
            drop(early.take(id));
            recv::refuse_id(conn, id);
        }
    }
}

/// Starts the request in `receive`, which came by the connection of `qp`, in the chunk of `slot`.
// Into the one caller that is not cold.
#[inline(always)]
pub(super) fn start(qp: &QpRef<'_, Conn>, slot: &ChunkSlot, receive: HeldOp<Receive>) {
    let conn: &Arc<Conn> = qp.context();
    let path = conn.path();

    let (Some(mut chunk), Some(buf)) = (slot.begin(), receive.eager()) else {
        return path.fail(fmt!("chunk of a new request is in use"));
    };
    chunk.set_eager_request(buf);
    // Without data the receive is free: the chunk has a copy of the message.
    let data = match buf.sent() {
        0 => {
            if let Err(e) = Receive::post(receive, qp) {
                return path.fail(fmt!("receive not posted: {e:?}"));
            }
            None
        }
        _ => Some(receive),
    };
    dispatch::submit(conn, PendingRequest::new(chunk, conn.clone(), data));
}
