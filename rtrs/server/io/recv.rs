// SPDX-License-Identifier: GPL-2.0-only

//! Receives: the immediates, or inline immediates, that arrive on the connections of a path.

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
        split_inline_imm,
        Imm,
        IoReqPayload,
        INLINE_IMM_SIZE, //
    },
    path_state::ServerState, //
};

use crate::{
    common::recv_buf::{
        RecvBuf,
        RecvBufs, //
    },
    kernel_ext::log::Plain,
    rdma::{
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

use super::invalidate;

/// Buffers for the inline immediates of a connection whose device has no immediates.
pub(in crate::server) type InlineImmBufs = RecvBufs<INLINE_IMM_SIZE>;

/// A posted receive of an immediate or an inline immediate.
pub(in crate::server) struct Receive {
    inline: Option<RecvBuf<INLINE_IMM_SIZE>>,
}

impl Receive {
    /// Creates one to be posted, with a buffer where immediates are inline.
    pub(in crate::server) fn new(inline: Option<RecvBuf<INLINE_IMM_SIZE>>) -> Result<HeldOp<Self>> {
        Op::new(Self { inline })?.begin().ok_or(EBUSY)
    }

    /// Posts it.
    pub(in crate::server) fn post(this: HeldOp<Self>, qp: &QpRef<'_, Conn>) -> Result {
        qp.post_recv(this, |op| op.inline.as_ref().map(RecvBuf::sge).transpose())
            .map_err(|(_, e)| e)
    }

    /// Returns the immediate that arrived with `wc`. `None` if the message is not one.
    fn imm(&self, wc: &Wc) -> Option<u32> {
        let Some(inline) = &self.inline else {
            return wc.imm().filter(|_| wc.kind() == WcKind::RecvWriteImm);
        };
        let mut bytes = [0; INLINE_IMM_SIZE];
        split_inline_imm(inline.read(wc, &mut bytes)).map(|(imm, _)| imm)
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
        let imm = op.imm(wc);
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
        Ok(Imm::IoReq(payload)) => request_arrived(conn, payload),
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
fn request_arrived(conn: &Arc<Conn>, payload: IoReqPayload) {
    let path = conn.path();

    if path.state() != ServerState::Connected {
        return path.fail(fmt!("request before the session is up"));
    }
    let (id, offset) = match path.offer().layout().decode(payload) {
        Ok(decoded) => decoded,
        Err(e) => return path.fail(fmt!("{}", Plain(e))),
    };
    let Some(slot) = path.data().chunk(id) else {
        return;
    };
    let location = RequestLocation {
        connection: conn.id(),
        offset,
    };
    match slot.state().request_arrived(location) {
        ArrivalAction::Serve => invalidate::start(conn, slot, location),
        ArrivalAction::Wait => {}
        ArrivalAction::Violation => path.fail(fmt!("message id {} used while in flight", id.get())),
    }
}
