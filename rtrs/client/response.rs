// SPDX-License-Identifier: GPL-2.0-only

//! Responses of the server to requests.

use rnbd_proto::{
    imm::IoRsp,
    wire::rtrs::{
        NextKey,
        RkeyRsp, //
    }, //
};

use crate::rdma::qp::QpRef;

use super::{
    conn::Conn,
    rdma_request::RequestConn as _, //
};

/// Handles a response, perhaps with a new key for the chunk in `message`, or with data if requests
/// are eager.
///
/// # Errors
///
/// A violation of the protocol, for which the link must fail.
#[inline]
pub(super) fn handle(
    qp: &QpRef<'_, Conn>,
    rsp: IoRsp,
    message: &[u8],
) -> core::result::Result<(), &'static str> {
    let conn = qp.context();
    let stats = conn.link().stats();
    match conn.is_polled() {
        true => stats.response_polled(),
        false => stats.response_arrived(u32::from(conn.id()).saturating_sub(1)),
    }
    let Some(table) = conn.requests() else {
        return Err("response over the control connection");
    };
    let negotiated = table.negotiated();
    let depth = negotiated.depth;
    let id = rsp.id(depth).map_err(|_| "response with a wrong id")?;
    let data = if negotiated.is_eager() { message } else { &[] };
    let renewed = match (negotiated.next_key, message) {
        _ if negotiated.is_eager() => None,
        (NextKey::Stepped, [_, ..]) => return Err("response with a key where keys are stepped"),
        (_, []) => None,
        (_, message) => Some(RkeyRsp::parse(message, depth).map_err(|_| "malformed response")?),
    };
    if renewed.is_some_and(|renewed| renewed.id != id) {
        return Err("response for one id with the key of another");
    }
    let Some((request, remote_buf)) = table.get(id.index()) else {
        return Err("response before the remote buffers are known");
    };
    let last_invalidated = conn.take_invalidated();
    let awaited = request.record_response(qp, |request| {
        // Before the request ends, after which its message id is used again. The server has posted
        // its receive before it responded.
        conn.put_back_place();
        match (negotiated.next_key, renewed) {
            (NextKey::Stepped, _) => remote_buf.step_rkey(),
            (_, Some(renewed)) => remote_buf.set_rkey(renewed.rkey),
            (_, None) => {}
        }
        // It was withdrawn, and its result is of no interest.
        let Some(request) = request else {
            return;
        };
        // Do not trust the claim alone: data whose key is still valid must not be given
        // back.
        let invalidated = rsp.invalidated() && last_invalidated == Some(request.rkey());
        request.record(rsp.errno(), invalidated, data);
    });
    if awaited {
        Ok(())
    } else {
        Err("response to a request that is not in flight")
    }
}
