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
    rdma::op::HeldOp,
    server::{
        chunk::{
            Chunk,
            ChunkSlot,
            Stage, //
        },
        path::Conn, //
    }, //
};

use super::dispatch;

/// Starts the request at `location` of the chunk in `slot`, which came by `conn`. Invalidates the
/// client's key first, if so configured.
pub(super) fn start(conn: &Arc<Conn>, slot: &ChunkSlot, location: RequestLocation) {
    let path = conn.path();
    let Some(mut chunk) = slot.begin() else {
        return path.fail(fmt!("chunk of a new request is in use"));
    };
    chunk.set_location(location);

    if !path.offer().new_rkey() {
        return dispatch::submit(conn, chunk);
    }
    chunk.set_stage(Stage::Invalidate);
    // In the queue in which the memory was registered, so that the invalidation is executed after
    // that: a client may send the request before it has the response, and by another connection.
    let queue = chunk.home().unwrap_or(conn.id());
    let posted = path.links().with_qp(queue, move |qp| {
        qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
            chunk.build_invalidation(chain)
        })
        .map_err(|(_, e)| e)
    });
    if let Some(Err(e)) = posted {
        path.fail(fmt!("invalidation not posted: {e:?}"));
    }
}

/// Continues with the request in `chunk` after the invalidation, which completed on `conn`. The
/// request may have come by another connection.
pub(in crate::server) fn invalidated(conn: &Arc<Conn>, chunk: HeldOp<Chunk>) {
    let connection = chunk.location().connection;
    if connection == conn.id() {
        dispatch::submit(conn, chunk);
    } else if let Some(conn) = conn.path().links().context(connection) {
        dispatch::submit(&conn, chunk);
    }
}
