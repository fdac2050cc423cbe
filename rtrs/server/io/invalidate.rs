// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation of the client's key to a chunk, before its request is looked at.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    chunk_state::RequestLocation,
    op_state::AwaitedEvents, //
};

use crate::{
    rdma::{
        op::HeldOp,
        qp::QpRef, //
    },
    server::{
        chunk::{
            Chunk,
            ChunkSlot,
            Stage, //
        },
        path::Conn,
        request::PendingRequest, //
    }, //
};

use super::dispatch;

/// Starts the request at `location` of the chunk in `slot`, which came by the connection of `qp`.
/// Invalidates the client's key first, if so configured.
pub(super) fn start(qp: &QpRef<'_, Conn>, slot: &ChunkSlot, location: RequestLocation) {
    let conn = qp.context();
    let path = conn.path();
    let Some(mut chunk) = slot.begin() else {
        return path.fail(fmt!("chunk of a new request is in use"));
    };
    chunk.set_location(location);

    if !path.offer().new_rkey() {
        return submit(conn, chunk);
    }
    chunk.set_stage(Stage::Invalidate);
    // In the queue in which the memory was registered, so that the invalidation is executed after
    // that: a client may send the request before it has the response, and by another connection.
    let posted = match chunk.home() {
        Some(queue) if queue != conn.id() => path.links().with_qp(queue, |qp| post(qp, chunk)),
        _ => Some(post(qp, chunk)),
    };
    if let Some(Err(e)) = posted {
        path.fail(fmt!("invalidation not posted: {e:?}"));
    }
}

/// Posts the invalidation.
fn post(qp: &QpRef<'_, Conn>, chunk: HeldOp<Chunk>) -> Result {
    qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
        chunk.build_invalidation(chain)
    })
    .map_err(|(_, e)| e)
}

/// Continues with the request in `chunk` after the invalidation, which completed on `conn`. The
/// request may have come by another connection.
pub(in crate::server) fn invalidated(conn: &Arc<Conn>, chunk: HeldOp<Chunk>) {
    let connection = chunk.location().connection;
    if connection == conn.id() {
        submit(conn, chunk);
    } else if let Some(conn) = conn.path().links().context(connection) {
        submit(&conn, chunk);
    }
}

/// Goes on with the request in `chunk`, which came by `conn`.
fn submit(conn: &Arc<Conn>, chunk: HeldOp<Chunk>) {
    dispatch::submit(conn, PendingRequest::new(chunk, conn.clone(), None));
}
