// SPDX-License-Identifier: GPL-2.0-only

//! Requests of clients, from their arrival to their response.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::wire::rtrs::{
    self,
    DataTransfer, //
};

use crate::{
    kernel_ext::pages::Pages,
    rdma::op::HeldOp, //
};

use super::{
    chunk::Chunk,
    path::Conn, //
};

/// A request in its chunk, and the connection that it came by.
///
/// Each stage from arrival to response owns this value and hands it on; see [`super::io`].
/// Dropping it releases the chunk, and with it perhaps the last reference to the path: only the
/// functions of [`super::io`] and a teardown do that.
pub(super) struct PendingRequest {
    chunk: HeldOp<Chunk>,
    conn: Arc<Conn>,
}

impl PendingRequest {
    /// Combines a chunk with the connection that the request in it came by.
    pub(super) fn new(chunk: HeldOp<Chunk>, conn: Arc<Conn>) -> Self {
        Self { chunk, conn }
    }

    /// Returns the chunk.
    pub(super) fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// Returns the connection that the request came by.
    pub(super) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Copies and parses the request; see [`Chunk::read`].
    pub(super) fn read(
        &mut self,
    ) -> core::result::Result<rtrs::RequestMsg, rnbd_proto::error::WireError> {
        self.chunk.read()
    }

    /// Splits it into chunk and connection.
    pub(super) fn into_parts(self) -> (HeldOp<Chunk>, Arc<Conn>) {
        (self.chunk, self.conn)
    }
}

/// A request of a client that the service executes and completes once.
///
/// The service owns its memory until then. Dropping the request completes it with `EIO`.
pub struct Request {
    /// Taken when the request is completed.
    pending: Option<PendingRequest>,
    pages: Arc<Pages>,
    msg: rtrs::RequestMsg,
}

impl Request {
    /// Makes a request with the parsed message `msg` available to the service.
    pub(super) fn new(pending: PendingRequest, msg: rtrs::RequestMsg) -> Self {
        Self {
            pages: pending.chunk().pages().clone(),
            pending: Some(pending),
            msg,
        }
    }

    /// Takes the request out, with its message. `None` if it was completed.
    pub(super) fn take(&mut self) -> Option<(PendingRequest, rtrs::RequestMsg)> {
        self.pending.take().map(|pending| (pending, self.msg))
    }

    /// Returns whether the client wants data.
    pub fn is_read(&self) -> bool {
        matches!(self.transfer(), DataTransfer::ToClient { .. })
    }

    /// Returns whether the path is closing, so the response will be lost. A hint: the path may
    /// begin to close at any time.
    pub fn is_lost(&self) -> bool {
        self.pending
            .as_ref()
            .is_none_or(|pending| pending.conn.path().is_closing())
    }

    /// Returns the direction of the data.
    pub fn transfer(&self) -> DataTransfer {
        self.msg.transfer()
    }

    /// Returns the user message. The client cannot change it any more.
    pub fn message(&self) -> &[u8] {
        self.pending
            .as_ref()
            .map_or(&[], |pending| pending.chunk.user())
    }

    /// Returns the number of bytes of data that the client wrote or wants.
    pub fn data_len(&self) -> usize {
        let len = match self.msg.transfer() {
            DataTransfer::ToServer => self.msg.data_len(),
            DataTransfer::None => 0,
            // At most the size of the chunk, see `rtrs::RequestMsg`.
            DataTransfer::ToClient { desc, .. } => desc.len(),
        };
        len as usize
    }

    /// Returns the memory of the data, which begins at its start.
    ///
    /// When a read completes with success, all [`Request::data_len`] bytes go to the client.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Makes `reply` the data for the client, followed by zeroes.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when the client does not want that much data.
    pub fn write_reply(&mut self, reply: &[u8]) -> Result {
        let rest = match self.data_len().checked_sub(reply.len()) {
            Some(rest) if self.is_read() => rest,
            _ => return Err(EMSGSIZE),
        };
        self.pages().write_at(0, reply)?;
        self.pages().zero(reply.len(), rest)
    }
}
