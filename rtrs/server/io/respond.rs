// SPDX-License-Identifier: GPL-2.0-only

//! Completion of requests: posts the response and releases the chunk.

use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    }, //
};

use rnbd_proto::{
    chunk_state::RequestLocation,
    error,
    limits::BufId,
    op_state::AwaitedEvents,
    wire::rtrs::{
        self,
        DataTransfer, //
    }, //
};

use crate::{
    kernel_ext::trace::{
        self,
        Failed,
        Side, //
    },
    rdma::{
        op::HeldOp,
        qp::QpRef, //
    },
    server::{
        chunk::{
            Chunk,
            ChunkSlot,
            Response, //
        },
        path::{
            Conn,
            Path, //
        },
        receive::Receive,
        request::Request, //
    }, //
};

use super::{
    eager,
    invalidate, //
};

impl Request {
    /// Sends the response to the client. Any context.
    pub fn complete(mut self, result: Result) {
        self.respond(result);
    }

    fn respond(&mut self, result: Result) {
        // As soon as the chunk is released, the path may be freed. References to it that are
        // dropped in this section are not the last ones: the teardown holds its own until all
        // such sections are over.
        let section = rcu::read_lock();
        let Some(pending) = self.take() else {
            return;
        };
        let (chunk, conn, data) = pending.into_parts();
        let path = conn.path();
        let errno = match result {
            Ok(()) => 0,
            Err(e) => {
                trace_error(path, chunk.id(), chunk.request(), e);
                e.to_errno().checked_neg().unwrap_or(error::EINVAL)
            }
        };

        // Before the response, after which the client may use the id again.
        path.session().executed(chunk.id());
        let posted = path.links().with_qp_in(&section, conn.id(), move |qp| {
            // Before the response, as the client counts on it from then on.
            if let Some(receive) = data {
                Receive::post(receive, qp)?;
            }
            post(chunk, qp, errno)
        });
        match posted {
            Some(Ok(())) => return,
            Some(Err(e)) => path.fail(fmt!("response not posted: {e:?}")),
            // The connections are gone, and the chunk was released with the closure.
            None => {}
        }
        path.chunk_returned();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.is_complete() {
            self.respond(Err(EIO));
        }
    }
}

/// Posts the response to the request in `chunk`.
fn post(mut chunk: HeldOp<Chunk>, qp: &QpRef<'_, Conn>, errno: i32) -> Result {
    let (path, id) = (qp.context().path(), chunk.id());
    let response = chunk.prepare_response(path.offer(), qp.context().id(), errno)?;
    let slot = path.data().chunk(id).ok_or(EPROTO)?;
    if !slot.state().begin_response() {
        return Err(EPROTO);
    }
    if qp.is_low_on_credits() {
        return post_signaled(chunk, qp, &response);
    }
    // No completion is needed.
    qp.post_unsignaled(&chunk, |chunk, chain| response.build(chunk, chain))?;
    drop(chunk);
    slot_response_sent(path, slot, id);
    Ok(())
}

/// Posts `response` so that its completion returns the credits of those before it.
#[cold]
#[inline(never)]
fn post_signaled(chunk: HeldOp<Chunk>, qp: &QpRef<'_, Conn>, response: &Response) -> Result {
    qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
        response.build(chunk, chain)
    })
    .map_err(|(_, e)| e)
}

/// Records that the response in chunk `id` was sent. Starts a request that waited for that.
pub(in crate::server) fn response_sent(path: &Arc<Path>, id: BufId) {
    if let Some(slot) = path.data().chunk(id) {
        slot_response_sent(path, slot, id);
    }
}

/// As [`response_sent`], for a chunk whose `slot` is known.
#[inline]
fn slot_response_sent(path: &Arc<Path>, slot: &ChunkSlot, id: BufId) {
    if let Some(location) = slot.state().response_sent() {
        start_next(path, slot, id, location);
    }
}

/// Starts the request at `location` that waited for the response in chunk `id`.
#[cold]
fn start_next(path: &Arc<Path>, slot: &ChunkSlot, id: BufId, location: RequestLocation) {
    let early = path.data().early().take(id);
    path.links()
        .with_qp(location.connection, move |qp| match early {
            Some(receive) => eager::start(qp, slot, receive),
            None => invalidate::start(qp, slot, location),
        });
}

/// Traces that a request of `path` completes with an error.
fn trace_error(path: &Path, id: BufId, msg: &rtrs::RequestMsg, error: Error) {
    let failed = Failed {
        place: path,
        op: match msg.transfer() {
            DataTransfer::ToServer => c"write",
            _ => c"read",
        },
        id: id.get().into(),
        bytes: msg.data_len(),
        error,
    };
    trace::io_error(Side::Server, &failed);
}
