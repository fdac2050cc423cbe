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
        chunk::Chunk,
        path::{
            Conn,
            Path, //
        },
        request::Request, //
    }, //
};

use super::invalidate;

impl Request {
    /// Sends the response to the client. Any context.
    pub fn complete(mut self, result: Result) {
        self.respond(result);
    }

    fn respond(&mut self, result: Result) {
        // As soon as the chunk is released, the path may be freed. References to it that are
        // dropped in this section are not the last ones: the teardown holds its own until all
        // such sections are over.
        let _section = rcu::read_lock();
        let Some((pending, msg)) = self.take() else {
            return;
        };
        let (chunk, conn) = pending.into_parts();
        let path = conn.path();
        let errno = match result {
            Ok(()) => 0,
            Err(e) => {
                trace_error(path, chunk.id(), &msg, e);
                e.to_errno().checked_neg().unwrap_or(error::EINVAL)
            }
        };

        // Before the response, after which the client may use the id again.
        path.session().executed(chunk.id());
        let posted = path
            .links()
            .with_qp(conn.id(), move |qp| post(chunk, qp, msg.transfer(), errno));
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
        self.respond(Err(EIO));
    }
}

/// Posts the response to the request in `chunk`.
fn post(
    mut chunk: HeldOp<Chunk>,
    qp: &QpRef<'_, Conn>,
    transfer: DataTransfer,
    errno: i32,
) -> Result {
    let (path, id) = (qp.context().path(), chunk.id());
    let response = chunk.prepare_response(path.offer(), qp.context().id(), transfer, errno)?;
    let slot = path.data().chunk(id);
    if !slot.is_some_and(|slot| slot.state().begin_response()) {
        return Err(EPROTO);
    }
    if qp.is_low_on_credits() {
        return qp
            .post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
                response.build(chunk, chain)
            })
            .map_err(|(_, e)| e);
    }
    // No completion is needed.
    qp.post_unsignaled(&chunk, |chunk, chain| response.build(chunk, chain))?;
    drop(chunk);
    response_sent(path, id);
    Ok(())
}

/// Records that the response in chunk `id` was sent. Starts a request that waited for that.
pub(in crate::server) fn response_sent(path: &Arc<Path>, id: BufId) {
    let Some(slot) = path.data().chunk(id) else {
        return;
    };
    let Some(location) = slot.state().response_sent() else {
        return;
    };
    if let Some(conn) = path.links().context(location.connection) {
        invalidate::start(&conn, slot, location);
    }
}

/// Traces that a request of `path` completes with an error.
fn trace_error(path: &Path, id: BufId, msg: &rtrs::RequestMsg, error: Error) {
    let failed = Failed {
        place: path,
        op: match msg.transfer() {
            DataTransfer::ToServer => c"write",
            DataTransfer::None | DataTransfer::ToClient { .. } => c"read",
        },
        id: id.get().into(),
        bytes: msg.data_len(),
        error,
    };
    trace::io_error(Side::Server, &failed);
}
