// SPDX-License-Identifier: GPL-2.0-only

//! What the server sends: answers, new keys, heartbeats.

use super::conn::Conn;
use super::link::RemoteBuf;
use crate::kernel_ext::clock;
use crate::kernel_ext::log::Plain;
use crate::pr_err_ratelimited;
use crate::rdma::dma::DmaBuf;
use crate::rdma::op::HeldOp;
use crate::rdma::op::Operation;
use crate::rdma::qp::QpRef;
use crate::rdma::wc::Wc;
use crate::rdma::wc::WcKind;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::imm::split_inline_imm;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::IoReqLayout;
use rnbd_proto::imm::IoRsp;
use rnbd_proto::imm::INLINE_IMM_SIZE;
use rnbd_proto::wire::rtrs::InfoRsp;
use rnbd_proto::wire::rtrs::NextKey;
use rnbd_proto::wire::rtrs::RkeyRsp;
use rnbd_proto::wire::rtrs::RKEY_RSP_SIZE;

/// Bytes of the longest message that may arrive at any time: a note, if immediates
/// travel as such, and a new key.
pub(super) const MESSAGE_SIZE: usize = INLINE_IMM_SIZE + RKEY_RSP_SIZE;

/// A posted receive: a place for one short message in a buffer that all
/// receives of the connection share.
pub(super) struct Receive {
    buffer: Arc<DmaBuf>,
    offset: usize,
}

impl Receive {
    pub(super) fn new(buffer: &Arc<DmaBuf>, index: usize) -> Result<Self> {
        Ok(Self {
            buffer: buffer.clone(),
            offset: index.checked_mul(MESSAGE_SIZE).ok_or(EINVAL)?,
        })
    }
}

/// Makes the receive available to the server.
pub(super) fn post(this: HeldOp<Receive>, qp: &QpRef<'_, Conn>) -> core::result::Result<(), Error> {
    qp.post_recv(this, |r| r.buffer.sge(r.offset, MESSAGE_SIZE).map(Some))
        .map_err(|(_, e)| e)
}

impl Operation for Receive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let shared = &qp.context().shared;
        if !wc.is_ok() {
            if !wc.is_flush() {
                pr_err_ratelimited!("receiving failed: {}\n", wc.status_name());
            }
            shared.fail("the connection broke");
            return;
        }
        shared.heartbeat.received();
        let mut message = [0; MESSAGE_SIZE];
        let mut len = 0;
        if wc.kind() == WcKind::Recv {
            len = wc.byte_len().min(MESSAGE_SIZE);
            op.buffer.sync_for_cpu(op.offset, MESSAGE_SIZE);
            // Cannot fail: the place lies in the buffer.
            let _ = op.buffer.read(op.offset, &mut message);
        }
        // The server counts on this receive as soon as it is told of the next
        // free message id, so it must be posted before.
        if post(op, qp).is_err() {
            shared.fail("a receive could not be posted");
        }
        if let Some(rkey) = wc.invalidated_rkey() {
            qp.context().note_invalidated(rkey);
        }
        let mut message = message.get(..len).unwrap_or_default();
        let mut imm = wc.imm();
        if qp.inline_imm() {
            if let Some((note, rest)) = split_inline_imm(message) {
                (imm, message) = (Some(note), rest);
            }
        }
        let handled = match imm.map(Imm::decode) {
            None if wc.invalidated_rkey().is_some() => Ok(()),
            None => Err("message without an immediate"),
            Some(Err(_)) => Err("unknown immediate"),
            Some(Ok(Imm::IoRsp(rsp))) => on_answer(qp, rsp, message),
            Some(Ok(Imm::Heartbeat(news))) if qp.context().id == 0 => {
                shared.path().session.hear(news);
                qp.post_imm(Imm::HeartbeatAck.encode())
                    .map_err(|_| "a heartbeat could not be answered")
            }
            Some(Ok(Imm::HeartbeatAck)) if qp.context().id == 0 => {
                shared.heartbeat.acked(clock::now_ns());
                Ok(())
            }
            Some(Ok(_)) => Err("immediate that does not belong here"),
        };
        if let Err(why) = handled {
            shared.fail(why);
        }
    }
}

/// The server answered a request, perhaps with a new key for its chunk.
fn on_answer(
    qp: &QpRef<'_, Conn>,
    rsp: IoRsp,
    message: &[u8],
) -> core::result::Result<(), &'static str> {
    let conn = qp.context();
    let stats = &conn.shared.stats;
    match conn.polled {
        true => stats.polled(),
        false => stats.answered(u32::from(conn.id).saturating_sub(1)),
    }
    let (Some(table), Some(chunks)) = (conn.shared.table.as_ref(), conn.shared.chunks.as_ref())
    else {
        return Err("answer before the session was set up");
    };
    let depth = table.layout.queue_depth();
    let id = rsp.id(depth).map_err(|_| "answer with a wrong id")?;
    let renewed = match (table.next_key, message) {
        (NextKey::Stepped, [_, ..]) => return Err("answer with a key where keys are stepped"),
        (_, []) => None,
        (_, message) => Some(RkeyRsp::parse(message, depth).map_err(|_| "malformed answer")?),
    };
    if renewed.is_some_and(|renewed| renewed.id != id) {
        return Err("answer for one id with the key of another");
    }
    let (Some(request), Some(chunk)) = (table.requests.get(id.index()), chunks.get(id.index()))
    else {
        return Err("answer with a wrong id");
    };
    let last = conn.take_invalidated();
    let awaited = request.record_response(Some(qp), |req| {
        match (table.next_key, renewed) {
            (NextKey::Stepped, _) => chunk.step(),
            (_, Some(renewed)) => chunk.renew(renewed.rkey),
            (_, None) => {}
        }
        // Do not trust the claim alone: data whose key is still valid must not
        // be given back.
        let invalidated = rsp.invalidated() && last == Some(req.rkey());
        req.record(rsp.errno(), invalidated);
    });
    if awaited {
        Ok(())
    } else {
        Err("answer to a request that is not in flight")
    }
}

/// The receive for INFO_RSP, which tells where the server's chunks are.
pub(super) struct InfoReceive {
    pub(super) buffer: DmaBuf,
    pub(super) layout: IoReqLayout,
}

/// Makes the receive available to the server.
pub(super) fn post_info(this: HeldOp<InfoReceive>, qp: &QpRef<'_, Conn>) -> Result {
    qp.post_recv(this, |r| r.buffer.sge(0, r.buffer.len()).map(Some))
        .map_err(|(_, e)| e)
}

impl InfoReceive {
    /// Reads what arrived, `len` bytes.
    fn chunks(&self, len: usize) -> Result<KVec<RemoteBuf>> {
        let mut bytes = KVec::new();
        bytes.resize(len.min(self.buffer.len()), 0, GFP_KERNEL_IN_SOFTIRQ)?;
        self.buffer.sync_for_cpu(0, bytes.len());
        self.buffer.read(0, &mut bytes)?;
        let info = InfoRsp::parse(&bytes, self.layout).map_err(|e| {
            let e = Plain(e);
            pr_err!("the server's INFO_RSP was refused: {e}\n");
            EPROTO
        })?;
        let depth = usize::from(self.layout.queue_depth().get());
        let mut chunks = KVec::with_capacity(depth, GFP_KERNEL_IN_SOFTIRQ)?;
        for chunk in info.chunks() {
            chunks.push(
                RemoteBuf::new(chunk.addr, chunk.rkey),
                GFP_KERNEL_IN_SOFTIRQ,
            )?;
        }
        Ok(chunks)
    }
}

/// Completions of this side run in softirq.
const GFP_KERNEL_IN_SOFTIRQ: kernel::alloc::Flags = GFP_ATOMIC;

impl Operation for InfoReceive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let shared = &qp.context().shared;
        shared.heartbeat.received();
        if !wc.is_ok() {
            shared.fail("the connection broke while the session was set up");
            return;
        }
        match op.chunks(wc.byte_len()) {
            Ok(chunks) => {
                shared.chunks.populate(chunks);
                shared.informed.complete_all();
            }
            Err(_) => shared.fail("the session could not be set up"),
        }
    }
}

/// A sent INFO_REQ.
pub(super) struct InfoSend {
    pub(super) buffer: DmaBuf,
}

impl Operation for InfoSend {
    type Context = Conn;

    fn finish(_op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        if let (Some(qp), Some(false)) = (qp, wc.map(Wc::is_ok)) {
            qp.context()
                .shared
                .fail("the connection broke while the session was set up");
        }
    }
}
