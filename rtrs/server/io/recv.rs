// SPDX-License-Identifier: GPL-2.0-only

//! What arrives on the connections of a path: immediates, which may be inline, and eager requests.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    chunk_state::{
        ArrivalAction,
        RequestLocation, //
    },
    imm::{
        Imm,
        IoReqPayload, //
    },
    limits::BufId,
    path_state::ServerState, //
};

use crate::{
    kernel_ext::log::Plain,
    rdma::{
        op::{
            HeldOp,
            Operation, //
        },
        qp::QpRef,
        wc::Wc, //
    },
    server::{
        chunk::ChunkSlot,
        path::Conn,
        receive::{
            Arrival,
            Receive, //
        }, //
    }, //
};

use super::{
    eager,
    invalidate, //
};

impl Operation for Receive {
    type Context = Conn;

    #[inline]
    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();
        let path = conn.path();

        if !conn.check(wc, "receive") {
            return;
        }
        path.heartbeat().received();
        let imm = match op.arrival(wc) {
            Some(Arrival::EagerRequest(imm)) => return eager::arrived(qp, op, imm, wc),
            Some(Arrival::Imm(imm)) => imm,
            None => return path.fail(fmt!("message without an immediate")),
        };
        // Posted again before the response, as the client counts on it from then on.
        if let Err(e) = Self::post(op, qp) {
            path.fail(fmt!("receive not posted: {e:?}"));
            return;
        }
        handle(conn, qp, imm);
    }
}

/// Handles an immediate that arrived on `conn`.
fn handle(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, imm: u32) {
    let path = conn.path();
    match Imm::decode(imm) {
        Ok(Imm::IoReq(payload)) => request_arrived(qp, payload),
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

/// Handles an immediate by which a client says that it wrote a request at `payload`.
fn request_arrived(qp: &QpRef<'_, Conn>, payload: IoReqPayload) {
    let conn = qp.context();
    let Some((slot, id, offset)) = locate(conn, payload) else {
        return;
    };
    let location = RequestLocation {
        connection: conn.id(),
        offset,
    };
    match slot.state().request_arrived(location) {
        ArrivalAction::Serve => invalidate::start(qp, slot, location),
        ArrivalAction::Wait => {}
        ArrivalAction::Violation => refuse_id(conn, id),
    }
}

/// Closes the path of `conn`, whose client used message id `id` for two requests at a time.
pub(super) fn refuse_id(conn: &Conn, id: BufId) {
    conn.path()
        .fail(fmt!("message id {} used while in flight", id.get()));
}

/// Returns chunk, message id and offset of the request that `payload` names. `None`, after closing
/// the path, if there can be none.
#[inline]
pub(super) fn locate(conn: &Conn, payload: IoReqPayload) -> Option<(&ChunkSlot, BufId, u32)> {
    let path = conn.path();

    if path.state() != ServerState::Connected {
        path.fail(fmt!("request before the session is up"));
        return None;
    }
    match path.offer().layout().decode(payload) {
        Ok((id, offset)) => Some((path.data().chunk(id)?, id, offset)),
        Err(e) => {
            path.fail(fmt!("{}", Plain(e)));
            None
        }
    }
}
