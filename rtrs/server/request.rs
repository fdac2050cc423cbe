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
    path::Conn,
    receive::Receive, //
};

/// A request with its chunk and the connection that it came by.
///
/// Each stage from arrival to response owns this value and hands it on; see [`super::io`].
/// Dropping it releases the chunk, and with it perhaps the last reference to the path: only the
/// functions of [`super::io`] and a teardown do that.
pub(super) struct PendingRequest {
    /// The receive that has the data of an eager WRITE.
    data: Option<HeldOp<Receive>>,
    chunk: HeldOp<Chunk>,
    conn: Arc<Conn>,
}

impl PendingRequest {
    /// Combines a chunk with the connection that the request in it came by, and with the data of
    /// an eager WRITE.
    #[inline]
    pub(super) fn new(
        chunk: HeldOp<Chunk>,
        conn: Arc<Conn>,
        data: Option<HeldOp<Receive>>,
    ) -> Self {
        Self { data, chunk, conn }
    }

    /// Returns the chunk.
    #[inline]
    pub(super) fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// Returns the connection that the request came by.
    #[inline]
    pub(super) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Copies and parses the request, unless that was done when it arrived; see [`Chunk::read`].
    #[inline]
    pub(super) fn read(&mut self) -> core::result::Result<(), rnbd_proto::error::WireError> {
        match self.chunk.is_eager() {
            true => Ok(()),
            false => self.chunk.read(),
        }
    }

    /// Returns the memory of the data.
    #[inline]
    fn pages(&self) -> &Pages {
        match self.data.as_ref().and_then(|receive| receive.eager()) {
            Some(buf) => buf.pages(),
            None => self.chunk.pages(),
        }
    }

    /// Splits it into chunk, connection, and the receive with the data.
    pub(super) fn into_parts(self) -> (HeldOp<Chunk>, Arc<Conn>, Option<HeldOp<Receive>>) {
        (self.chunk, self.conn, self.data)
    }
}

/// A request of a client that the service executes and completes once.
///
/// The service owns its memory until then. Dropping the request completes it with `EIO`.
pub struct Request {
    /// Taken when the request is completed.
    pending: Option<PendingRequest>,
}

impl Request {
    /// Makes a request, which was [read](PendingRequest::read), available to the service.
    pub(super) fn new(pending: PendingRequest) -> Self {
        Self {
            pending: Some(pending),
        }
    }

    /// Takes the request out. `None` if it was completed.
    #[inline]
    pub(super) fn take(&mut self) -> Option<PendingRequest> {
        self.pending.take()
    }

    /// Returns the message of the transport.
    #[inline]
    fn msg(&self) -> &rtrs::RequestMsg {
        self.pending
            .as_ref()
            .map_or(&rtrs::RequestMsg::EMPTY, |pending| pending.chunk.request())
    }

    /// Returns whether the response was sent, or is about to be.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_none()
    }

    /// Returns whether the client wants data.
    #[inline]
    pub fn is_read(&self) -> bool {
        self.transfer().is_to_client()
    }

    /// Returns whether the path is closing, so the response will be lost. A hint: the path may
    /// begin to close at any time.
    pub fn is_lost(&self) -> bool {
        self.pending
            .as_ref()
            .is_none_or(|pending| pending.conn.path().is_closing())
    }

    /// Returns the direction of the data.
    #[inline]
    pub fn transfer(&self) -> DataTransfer {
        self.msg().transfer()
    }

    /// Returns the user message. The client cannot change it any more.
    #[inline]
    pub fn message(&self) -> &[u8] {
        self.pending
            .as_ref()
            .map_or(&[], |pending| pending.chunk.user())
    }

    /// Returns the number of bytes of data that the client wrote or wants.
    #[inline]
    pub fn data_len(&self) -> usize {
        let msg = self.msg();
        // One of them is 0. At most the size of the chunk, see `rtrs::RequestMsg`.
        msg.len_to_server().max(msg.len_to_client()) as usize
    }

    /// Returns the memory of the data, which begins at its start. `None` once the request was
    /// completed.
    ///
    /// When a read completes with success, all [`Request::data_len`] bytes go to the client.
    #[inline]
    pub fn pages(&self) -> Option<&Pages> {
        Some(self.pending.as_ref()?.pages())
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
        let pages = self.pages().ok_or(EMSGSIZE)?;
        pages.write_at(0, reply)?;
        pages.zero(reply.len(), rest)
    }
}
