// SPDX-License-Identifier: GPL-2.0-only

//! The exchange of INFO: the client names its session, the server its chunks.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::wire::{
    name::SessName,
    rtrs::{
        info_rsp_size,
        InfoReq,
        InfoRsp,
        INFO_REQ_SIZE, //
    }, //
};

use crate::{
    common::message,
    kernel_ext::log::Plain,
    rdma::{
        connection::Connection,
        wc::Wc, //
    }, //
};

use super::{
    conn::Conn,
    link_state::LinkState,
    remote_buf::RemoteBuf,
    request_table::RequestTable, //
};

/// Posts the receive for INFO_RSP. It must be the first one of the connection.
pub(super) fn post_receive(
    control: &Connection<Conn>,
    requests: &Arc<RequestTable<Conn>>,
) -> Result {
    let negotiated = requests.negotiated();
    let size = info_rsp_size(negotiated.layout.queue_depth().get());
    // Completions of the client run in softirq, where much memory is hard to get.
    let mut room = KVVec::with_capacity(usize::from(negotiated.depth.get()), GFP_KERNEL)?;
    let requests = requests.clone();
    message::receive(control.pd(), &control.qp(), size, move |qp, wc, message| {
        let room = core::mem::take(&mut room);
        received(qp.context().link(), &requests, wc, message, room);
    })
}

/// Sends INFO_REQ and waits for the response.
///
/// # Errors
///
/// `ETIMEDOUT` after `limit`, `ECONNRESET` when the link failed, `ERESTARTSYS` when the task
/// was killed.
pub(super) fn exchange(
    control: &Connection<Conn>,
    link: &LinkState,
    requests: &RequestTable<Conn>,
    name: SessName<'_>,
    limit: Delta,
) -> Result {
    message::send(
        control.pd(),
        &control.qp(),
        INFO_REQ_SIZE,
        |bytes| InfoReq { name }.encode(bytes).map(drop).map_err(|_| EINVAL),
        |conn, wc| {
            check(conn.link(), wc);
        },
    )?;
    if !link.wait_info(limit)? {
        return Err(ETIMEDOUT);
    }
    if link.is_alive() && requests.is_ready() {
        Ok(())
    } else {
        Err(ECONNRESET)
    }
}

/// Returns whether `wc` succeeded. Fails the link otherwise.
fn check(link: &LinkState, wc: &Wc) -> bool {
    if !wc.is_ok() {
        link.fail("the connection broke while the session was set up");
    }
    wc.is_ok()
}

/// Handles INFO_RSP; `room` takes the chunks that it names.
fn received(
    link: &LinkState,
    requests: &RequestTable<Conn>,
    wc: &Wc,
    message: &[u8],
    room: KVVec<RemoteBuf>,
) {
    link.heartbeat().received();
    if !check(link, wc) {
        return;
    }
    match parse(requests, message, room) {
        Ok(remote_bufs) => {
            requests.set_remote_bufs(remote_bufs);
            link.complete_info();
        }
        Err(_) => link.fail("the session could not be set up"),
    }
}

/// Returns the chunks of the server that INFO_RSP names, as far as `room` has capacity for them:
/// one for each message id in use.
fn parse(
    requests: &RequestTable<Conn>,
    message: &[u8],
    mut room: KVVec<RemoteBuf>,
) -> Result<KVVec<RemoteBuf>> {
    let layout = requests.negotiated().layout;
    let info = InfoRsp::parse(message, layout).map_err(|e| {
        let e = Plain(e);
        pr_err!("the server's INFO_RSP was refused: {e}\n");
        EPROTO
    })?;
    for chunk in info.chunks().take(room.capacity()) {
        room.push_within_capacity(RemoteBuf::new(chunk.addr, chunk.rkey))
            .map_err(|_| ENOMEM)?;
    }
    Ok(room)
}
