// SPDX-License-Identifier: GPL-2.0-only

//! Requests in the hands of the service.

use kernel::prelude::*;
use kernel::sync::rcu;
use kernel::sync::Arc;
use rnbd_proto::error;
use rnbd_proto::limits::BufId;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::DataTransfer;

use super::chunk;
use super::chunk::Chunk;
use super::conn::Conn;
use super::path::Path;
use crate::kernel_ext::pages::Pages;
use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Failed;
use crate::kernel_ext::trace::Side;
use crate::rdma::op::HeldOp;

/// A request of a client, to be answered once.
///
/// Its memory belongs to it until then. Dropping it answers `EIO`.
pub struct Request {
    /// There until the answer.
    parts: Option<Parts>,
    pages: Arc<Pages>,
    wire: rtrs::RequestMsg,
}

struct Parts {
    chunk: HeldOp<Chunk>,
    conn: Arc<Conn>,
}

impl Request {
    pub(super) fn new(chunk: HeldOp<Chunk>, conn: Arc<Conn>, wire: rtrs::RequestMsg) -> Self {
        Self {
            pages: chunk.pages().clone(),
            parts: Some(Parts { chunk, conn }),
            wire,
        }
    }

    /// Whether the client wants data back.
    pub fn is_read(&self) -> bool {
        matches!(self.transfer(), DataTransfer::ToClient { .. })
    }

    /// Whether nobody will get the answer, as its path is gone. A look: it may go at any
    /// time.
    pub fn is_lost(&self) -> bool {
        self.parts
            .as_ref()
            .is_none_or(|parts| parts.conn.path.is_closing())
    }

    /// Which way the data of the request goes.
    pub fn transfer(&self) -> DataTransfer {
        self.wire.transfer()
    }

    /// The user message. The client cannot change it any more.
    pub fn message(&self) -> &[u8] {
        self.parts.as_ref().map_or(&[], |parts| parts.chunk.user())
    }

    /// Bytes of data: those that the client wrote, or those that it wants.
    pub fn data_len(&self) -> usize {
        let len = match self.wire.transfer() {
            DataTransfer::ToServer => self.wire.data_len(),
            DataTransfer::None => 0,
            // Not more than the room in the chunk, see `rtrs::RequestMsg`.
            DataTransfer::ToClient { desc, .. } => desc.len(),
        };
        len as usize
    }

    /// The memory of the data, which is at its start.
    ///
    /// All [`Request::data_len`] bytes of it go to a client that wants data
    /// when the request completes with success.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Makes `reply` the data for a client that wants some, zeroes after it.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when the client has no room for it.
    pub fn write_reply(&mut self, reply: &[u8]) -> Result {
        let rest = match self.data_len().checked_sub(reply.len()) {
            Some(rest) if self.is_read() => rest,
            _ => return Err(EMSGSIZE),
        };
        self.pages().write_at(0, reply)?;
        self.pages().zero(reply.len(), rest)
    }

    /// Answers the client. In any context.
    pub fn complete(mut self, result: Result) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result) {
        // As soon as the chunk is given up, the path may go. References to it
        // that are dropped in this section are not the last ones: the teardown
        // holds its own until all such sections are over.
        let _section = rcu::read_lock();
        let Some(Parts { chunk, conn }) = self.parts.take() else {
            return;
        };
        let (path, wire) = (&conn.path, self.wire);
        let errno = match result {
            Ok(()) => 0,
            Err(e) => {
                trace_error(path, chunk.id(), &wire, e);
                e.to_errno().checked_neg().unwrap_or(error::EINVAL)
            }
        };

        // Before the answer, after which the client may use the id again.
        path.session.executed(chunk.id());
        match path.with_qp(conn.id, move |qp| chunk::respond(chunk, qp, &wire, errno)) {
            Some(Ok(())) => return,
            Some(Err(e)) => path.fail(fmt!("answer not posted: {e:?}")),
            // The connections are gone, and the chunk was given up just now.
            None => {}
        }
        path.chunk_returned();
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.answer(Err(EIO));
    }
}

/// A request of `path` is going to be answered with an error.
fn trace_error(path: &Path, id: BufId, wire: &rtrs::RequestMsg, error: Error) {
    let failed = Failed {
        place: path,
        op: match wire.transfer() {
            DataTransfer::ToServer => c"write",
            DataTransfer::None | DataTransfer::ToClient { .. } => c"read",
        },
        id: id.get().into(),
        bytes: wire.data_len(),
        error,
    };
    trace::io_error(Side::Server, &failed);
}
