// SPDX-License-Identifier: GPL-2.0-only

//! The response to a request, as one chain of work requests.

use kernel::prelude::*;

use rnbd_proto::{
    imm::{
        Imm,
        IoRsp, //
    },
    wire::rtrs::{
        ConnAccept,
        DataTransfer,
        RkeyRsp,
        RKEY_RSP_SIZE, //
    }, //
};

use crate::rdma::{
    mr::Access,
    wr::{
        Remote,
        SendChain, //
    }, //
};

use super::{
    Chunk,
    Stage, //
};

/// What the response to the request in a chunk consists of.
pub(in crate::server) struct Response {
    /// Whether the data that the client wants go to it.
    data: bool,
    /// Whether the client's key for the chunk was invalidated.
    new_rkey: bool,
    /// Whether the data and the immediate may share one message.
    short: bool,
    imm: u32,
}

impl Chunk {
    /// Prepares the response to the request in it, to be posted in the queue of connection
    /// `home`. `errno` is positive, 0 for success.
    ///
    /// The client gets access to the chunk under a new key, if it has lost it. On success the
    /// response carries the data that the client wants. It invalidates the client's key if the
    /// client asked for that.
    pub(in crate::server) fn prepare_response(
        &mut self,
        offer: &ConnAccept,
        home: u16,
        errno: i32,
    ) -> Result<Response> {
        let invalidated = self.request.key_to_invalidate().is_some();
        let response = Response {
            data: errno == 0,
            new_rkey: offer.new_rkey() && !self.eager,
            short: offer.short_responses(),
            imm: Imm::IoRsp(IoRsp::new(self.id, errno, invalidated)).encode(),
        };

        if response.new_rkey {
            self.mr.bump_key();
        }
        if let Some(key) = &mut self.key {
            let message = RkeyRsp {
                id: self.id,
                rkey: self.mr.rkey(),
            };
            key.write(0, &message.encode())?;
            key.sync_for_device(0, RKEY_RSP_SIZE);
        }
        match self.request.len_to_client() {
            len if response.data && len > 0 => self.data().sync_for_device(0, len as usize),
            _ => {}
        }
        self.stage = Stage::Respond;
        // The next invalidation is posted in the same queue, and so is executed after the
        // registration in this response.
        if response.new_rkey {
            self.home = Some(home);
        }
        Ok(response)
    }
}

impl Response {
    /// Appends the work requests.
    // Where the chain is made, as the compiler sees there that it is empty.
    #[inline(always)]
    pub(in crate::server) fn build<'a>(
        &self,
        chunk: &'a Chunk,
        chain: &mut SendChain<'a>,
    ) -> Result {
        match chunk.request.transfer() {
            // The request was eager, so the client has not lost its key.
            DataTransfer::InResponse { len } if self.data => {
                let list = [chunk.data().sge(0, len as usize)?];
                chain.send_imm(&list, self.imm)
            }
            _ => self.build_writes(chunk, chain),
        }
    }

    /// As [`Self::build`], for a response whose data, if any, are written to the client's memory.
    #[inline(never)]
    fn build_writes<'a>(&self, chunk: &'a Chunk, chain: &mut SendChain<'a>) -> Result {
        // First, as the client may use the chunk once it has the response.
        if self.new_rkey {
            chain.reg_mr(&chunk.mr, Access::RemoteWrite)?;
        }
        let invalidate = chunk.request.key_to_invalidate();
        if let (DataTransfer::ToClient { desc, .. }, true) = (chunk.request.transfer(), self.data) {
            let list = [chunk.data().sge(0, desc.len() as usize)?];
            let to = Remote {
                addr: desc.addr(),
                rkey: desc.key(),
            };
            if self.short && invalidate.is_none() {
                return chain.rdma_write_imm(&list, to, self.imm);
            }
            chain.rdma_write(&list, to)?;
        }
        if let Some(key) = invalidate {
            chain.send_inv(key)?;
        }
        match &chunk.key {
            Some(key) => chain.send_imm(&[key.sge(0, RKEY_RSP_SIZE)?], self.imm),
            None => chain.imm_only(self.imm),
        }
    }
}
