// SPDX-License-Identifier: GPL-2.0-only

//! Requests from their arrival to the dispatch queue.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    chunk_state::{
        ArrivalAction,
        RequestLocation, //
    },
    imm::IoReqPayload,
    op_state::AwaitedEvents,
    path_state::ServerState, //
};

use crate::{
    kernel_ext::log::Plain,
    rdma::op::HeldOp,
    server::{
        chunk::{
            Chunk,
            ChunkSlot,
            Stage, //
        },
        path::Conn,
        request::PendingRequest,
        resend_order::Entry, //
    }, //
};

use super::dispatch;

/// Handles an immediate by which a client says that it wrote a request at `payload`.
pub(super) fn request_arrived(conn: &Arc<Conn>, payload: IoReqPayload) {
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
        ArrivalAction::Serve => start(conn, slot, location),
        ArrivalAction::Wait => {}
        ArrivalAction::Violation => path.fail(fmt!("message id {} used while in flight", id.get())),
    }
}

/// Starts the request at `location` of the chunk in `slot`, which came by `conn`. Invalidates the
/// client's key first, if so configured.
pub(super) fn start(conn: &Arc<Conn>, slot: &ChunkSlot, location: RequestLocation) {
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
        submit(conn, chunk);
    } else if let Some(conn) = conn.path().links().context(connection) {
        submit(&conn, chunk);
    }
}

/// Sends the request in `chunk`, which the client cannot change any more, to the service as soon
/// as no other request of its id is being executed: now, or later by the session's work item.
fn submit(conn: &Arc<Conn>, chunk: HeldOp<Chunk>) {
    let id = chunk.id();
    let request = PendingRequest::new(chunk, conn.clone());
    let orders = conn.path().session().orders();
    match orders.enter(id, request, |request| request.conn().path().is_closing()) {
        Entry::Entered(request) => dispatch::enqueue(conn, request),
        Entry::Waits => {}
        Entry::Rejected(request, why) => dispatch::give_up(request, why),
    }
}
