// SPDX-License-Identifier: GPL-2.0-only

//! The answer to a request: one chain of work requests.

use kernel::prelude::*;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::IoRsp;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::DataTransfer;
use rnbd_proto::wire::rtrs::RkeyRsp;
use rnbd_proto::wire::rtrs::SgDesc;
use rnbd_proto::wire::rtrs::RKEY_RSP_SIZE;

use super::answered;
use super::slot;
use super::Chunk;
use super::Stage;
use crate::rdma::mr::Access;
use crate::rdma::op::HeldOp;
use crate::rdma::qp::QpRef;
use crate::rdma::wr::Remote;
use crate::rdma::wr::SendChain;
use crate::server::conn::Conn;

/// Posts the answer to `request`: `errno` is positive, 0 for success.
///
/// The chunk is opened to the client again under a new key. On success the data goes to
/// the client, if it wants any, and the client's key is invalidated if it asked for that.
pub(in crate::server) fn respond(
    mut chunk: HeldOp<Chunk>,
    qp: &QpRef<'_, Conn>,
    request: &rtrs::RequestMsg,
    errno: i32,
) -> Result {
    let path = &qp.context().path;
    let (data, invalidate) = match request.transfer() {
        DataTransfer::ToClient { desc, invalidate } => {
            ((errno == 0).then_some(desc), invalidate.then(|| desc.key()))
        }
        DataTransfer::ToServer | DataTransfer::None => (None, None),
    };
    let answer = Response {
        data,
        invalidate,
        new_rkey: path.offer.new_rkey(),
        short: path.offer.short_responses(),
        imm: Imm::IoRsp(IoRsp::new(chunk.id, errno, invalidate.is_some())).encode(),
    };

    if answer.new_rkey {
        chunk.mr.bump_key();
    }
    if let Some(key) = &chunk.key {
        let message = RkeyRsp {
            id: chunk.id,
            rkey: chunk.mr.rkey(),
        };
        key.write(0, &message.encode())?;
        key.sync_for_device(0, RKEY_RSP_SIZE);
    }
    if let Some(desc) = data {
        chunk.mem.sync_for_device(0, desc.len() as usize);
    }
    chunk.stage = Stage::Respond;
    if !slot(path, chunk.id).is_some_and(|slot| slot.state.begin_response()) {
        return Err(EPROTO);
    }
    // For the next request, which is not looked at before the key was invalidated in the
    // same queue, and that is done after this.
    chunk.home = answer.new_rkey.then_some(qp.context().id);
    if qp.is_low_on_credits() {
        return qp
            .post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
                answer.build(chunk, chain)
            })
            .map_err(|(_, e)| e);
    }
    // There is no need to learn when this was sent.
    qp.post_unsignaled(&chunk, |chunk, chain| answer.build(chunk, chain))?;
    let id = chunk.id;
    drop(chunk);
    answered(path, id);
    Ok(())
}

/// What an answer is made of.
struct Response {
    /// Where data goes, if there is any.
    data: Option<SgDesc>,
    /// A key of the client that is to be invalidated.
    invalidate: Option<u32>,
    /// Whether the chunk was closed to the client.
    new_rkey: bool,
    /// Whether data may go in one message with the rest.
    short: bool,
    imm: u32,
}

impl Response {
    fn build<'a>(&self, chunk: &'a Chunk, chain: &mut SendChain<'a>) -> Result {
        // First, as the client may use the chunk once it has the answer.
        if self.new_rkey {
            chain.reg_mr(&chunk.mr, Access::RemoteWrite)?;
        }
        if let Some(desc) = self.data {
            let list = [chunk.mem.sge(0, desc.len() as usize)?];
            let to = Remote {
                addr: desc.addr(),
                rkey: desc.key(),
            };
            if self.short && self.invalidate.is_none() {
                return chain.rdma_write_imm(&list, to, self.imm);
            }
            chain.rdma_write(&list, to)?;
        }
        if let Some(key) = self.invalidate {
            chain.send_inv(key)?;
        }
        match &chunk.key {
            Some(key) => chain.send_imm(&[key.sge(0, RKEY_RSP_SIZE)?], self.imm),
            None => chain.imm_only(self.imm),
        }
    }
}
