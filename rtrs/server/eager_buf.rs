// SPDX-License-Identifier: GPL-2.0-only

//! Memory for eager requests, to which no client has a key.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    error::WireError,
    wire::rtrs::{
        eager,
        ConnAccept,
        RequestMsg, //
    }, //
};

use crate::{
    common::recv_buf::RecvBuf,
    kernel_ext::pages::Pages,
    rdma::{
        dma::DmaDir,
        dma_pages::DmaPages,
        pd::Pd,
        sge::RecvSegments,
        wc::Wc, //
    }, //
};

/// Returns the bytes of memory for the data of an eager request, in whole pages.
pub(super) fn memory() -> usize {
    Pages::memory(eager::DATA_SIZE as usize)
}

/// Allocates memory for the data of an eager request, or of the response to one.
pub(super) fn data_pages(pd: &Arc<Pd>, dir: DmaDir) -> Result<DmaPages> {
    DmaPages::new(pd, Pages::new(eager::DATA_SIZE as usize)?, dir)
}

/// Space for the header and the data of one eager request, and the request as it arrived.
pub(super) struct EagerBuf {
    header: RecvBuf<{ eager::HEADER_SIZE }>,
    data: DmaPages,
    request: RequestMsg,
}

impl EagerBuf {
    /// Allocates space for the data.
    pub(super) fn new(pd: &Arc<Pd>, header: RecvBuf<{ eager::HEADER_SIZE }>) -> Result<Self> {
        Ok(Self {
            header,
            data: data_pages(pd, DmaDir::FromDevice)?,
            request: RequestMsg::EMPTY,
        })
    }

    /// Names header and data for a receive.
    pub(super) fn build<'a>(&'a self, segments: &mut RecvSegments<'a>) -> Result {
        segments.push(self.header.sge()?)?;
        segments.push(self.data.sge(0, eager::DATA_SIZE as usize)?)
    }

    /// Parses the message that arrived with `wc`, which succeeded, and with `offset` in its
    /// immediate, on a path with this `offer`; see [`eager::parse`].
    #[inline]
    pub(super) fn receive(
        &mut self,
        wc: &Wc,
        offset: u32,
        offer: &ConnAccept,
    ) -> core::result::Result<(), WireError> {
        let mut header = [0; eager::HEADER_SIZE];
        self.header.read(wc, &mut header);
        let (size, next_key) = (offer.chunk_size(), offer.next_key());
        self.request = eager::parse(&header, wc.byte_len(), offset, size, next_key)?;
        match self.sent() {
            0 => {}
            sent => self.data.sync_for_cpu(0, sent),
        }
        Ok(())
    }

    /// Returns the request.
    pub(super) fn request(&self) -> &RequestMsg {
        &self.request
    }

    /// Returns the number of bytes of data that the client sent.
    pub(super) fn sent(&self) -> usize {
        self.request.len_to_server() as usize
    }

    /// Copies the beginning of the header, which is the user message.
    pub(super) fn copy_user(&self, to: &mut [u8]) {
        self.header.copy(to);
    }

    /// Returns the memory of the data.
    pub(super) fn pages(&self) -> &Pages {
        self.data.pages()
    }
}
