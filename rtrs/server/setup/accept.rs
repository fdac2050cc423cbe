// SPDX-License-Identifier: GPL-2.0-only

//! Acceptance of the connections of a path.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    auth::Hello,
    error,
    wire::rtrs::{
        ConnReq,
        ConnRsp,
        CONN_MSG_SIZE, //
    }, //
};

use crate::{
    rdma::listener::Incoming,
    server::{
        auth,
        path::{
            Conn,
            Path, //
        }, //
    }, //
};

use super::{
    info_req,
    qp_config::qp_config, //
};

/// Adds the connection that `req` asks for to `path`. Closes the path on failure. `private` is
/// the message that `req` was parsed from.
pub(in crate::server) fn accept(
    path: &Arc<Path>,
    req: &ConnReq,
    private: &[u8],
    incoming: Incoming<'_>,
) {
    if let Err(e) = try_accept(path, req, private, incoming) {
        path.fail(fmt!("connection {} not accepted: {e:?}", req.id()));
    }
}

fn try_accept(path: &Arc<Path>, req: &ConnReq, private: &[u8], incoming: Incoming<'_>) -> Result {
    let (id, links) = (req.id(), path.links());
    // The teardown of the path runs before or after this function.
    let _adding = links.lock();
    if path.is_closing() {
        incoming.reject(&rejection(ECONNRESET));
        return Err(ECONNRESET);
    }
    let config = match qp_config(path, id) {
        Ok(config) => config,
        Err(e) => {
            incoming.reject(&rejection(e));
            return Err(e);
        }
    };
    let response = ConnRsp::Accept(auth::with_nonce(*path.offer(), req)).encode();
    let hello = match req.auth() {
        true => Hello::new(private, &response),
        false => None,
    };
    let context = match Arc::new(Conn::new(path.clone(), id, hello), GFP_KERNEL) {
        Ok(context) => context,
        Err(_) => {
            incoming.reject(&rejection(ENOMEM));
            return Err(ENOMEM);
        }
    };
    // Before the client is told: its next message may arrive before this function continues.
    path.start_setup_timeout();
    let is_last = links.announce();
    let link = incoming.accept(
        path.pd(),
        context,
        &config,
        |qp| match id {
            0 => info_req::post_receive(qp),
            _ => Ok(()),
        },
        &response,
        rejection,
    )?;
    links.add(id, link).map_err(|link| {
        // In another context: a handler of the connection's own id cannot destroy it.
        let _ = path.config().queue.spawn(move || drop(link));
        EEXIST
    })?;
    if is_last {
        links.all_added();
    }
    Ok(())
}

/// Returns the private data to reject a connection with.
pub(in crate::server) fn rejection(e: Error) -> [u8; CONN_MSG_SIZE] {
    let errno = e.to_errno().checked_neg().unwrap_or(error::EINVAL);
    ConnRsp::Reject(errno).encode()
}
