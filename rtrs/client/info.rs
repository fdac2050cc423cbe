// SPDX-License-Identifier: GPL-2.0-only

//! The exchange of INFO: the client names its session, the server its chunks.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
    time::Delta, //
};

use rnbd_proto::{
    auth::PROOF_SIZE,
    wire::{
        name::SessName,
        rtrs::{
            info_rsp_size,
            InfoReq,
            InfoRsp,
            INFO_REQ_SIZE, //
        }, //
    }, //
};

use crate::{
    common::message,
    kernel_ext::log::Plain,
    pr_err_ratelimited,
    rdma::{
        connection::Connection,
        wc::Wc, //
    }, //
};

use super::{
    auth::Proof,
    conn::Conn,
    link_state::LinkState,
    remote_buf::RemoteBuf,
    request_table::RequestTable, //
};

/// INFO_RSP as it arrived, for the check of its proof in a task.
pub(super) type Response = Arc<SetOnce<KVVec<u8>>>;

/// Posts the receive for INFO_RSP. It must be the first one of the connection. Returns where the
/// message will be if it is to have a proof.
pub(super) fn post_receive(
    control: &Connection<Conn>,
    requests: &Arc<RequestTable<Conn>>,
    with_proof: bool,
) -> Result<Option<Response>> {
    let negotiated = requests.negotiated();
    let mut size = info_rsp_size(negotiated.layout.queue_depth().get());
    let (mut copy, mut response) = (KVVec::new(), None);
    if with_proof {
        size += PROOF_SIZE;
        copy.reserve(size, GFP_KERNEL)?;
        response = Some(Arc::new(SetOnce::new(), GFP_KERNEL)?);
    }
    // Completions of the client run in softirq, where much memory is hard to get.
    let mut room = KVVec::with_capacity(usize::from(negotiated.depth.get()), GFP_KERNEL)?;
    let (requests, to) = (requests.clone(), response.clone());
    message::receive(control.pd(), &control.qp(), size, move |qp, wc, message| {
        let room = core::mem::take(&mut room);
        if let Some(to) = &to {
            let mut copy = core::mem::take(&mut copy);
            // Within the capacity.
            if copy.extend_from_slice(message, GFP_ATOMIC).is_ok() {
                to.populate(copy);
            }
        }
        received(qp.context().link(), &requests, wc, message, room);
    })?;
    Ok(response)
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
    let mut info_req = [0; INFO_REQ_SIZE];
    InfoReq { name }.encode(&mut info_req).map_err(|_| EINVAL)?;
    send_and_wait(control, link, requests, &info_req, limit)
}

/// Sends INFO_REQ with the client's proof, waits for the response, and checks that the server has
/// proven the key, too. Before that nothing of the response is used.
///
/// # Errors
///
/// Those of [`exchange`], and `EKEYREJECTED`, with a line in the log, when the server does not
/// accept the proof or has none.
pub(super) fn exchange_proofs(
    control: &Connection<Conn>,
    link: &LinkState,
    requests: &RequestTable<Conn>,
    proof: Proof,
    response: &SetOnce<KVVec<u8>>,
    limit: Delta,
) -> Result {
    send_and_wait(control, link, requests, &proof.info_req, limit).map_err(|e| {
        if e != ECONNRESET {
            return e;
        }
        pr_err_ratelimited!(link => "{link}: the server ended the connection instead of proving the key, so it has probably refused it; its log has the reason\n"
        );
        EKEYREJECTED
    })?;
    let info_rsp = response.as_ref().ok_or(EPROTO)?;
    proof.expected.check(info_rsp).map_err(|_| {
        pr_err_ratelimited!(link => "{link}: the server has not proven the key: the keys of both machines differ, or another machine interferes\n"
        );
        EKEYREJECTED
    })
}

fn send_and_wait(
    control: &Connection<Conn>,
    link: &LinkState,
    requests: &RequestTable<Conn>,
    info_req: &[u8],
    limit: Delta,
) -> Result {
    message::send(
        control.pd(),
        &control.qp(),
        info_req.len(),
        |bytes| {
            // All of them, as the compiler does not see: no path leads to a panic.
            let room = bytes.get_mut(..info_req.len()).ok_or(EINVAL)?;

            room.copy_from_slice(info_req);
            Ok(())
        },
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
