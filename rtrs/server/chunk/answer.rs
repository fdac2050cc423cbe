// SPDX-License-Identifier: GPL-2.0-only

//! The answer to a request: one chain of work requests.

use kernel::prelude::*;
use rnbd_proto::flight::Await;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::IoRsp;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::RkeyRsp;
use rnbd_proto::wire::rtrs::Transfer;
use rnbd_proto::wire::rtrs::RKEY_RSP_SIZE;

use super::slot;
use super::Chunk;
use super::Stage;
use crate::rdma::mr::Access;
use crate::rdma::op::Idle;
use crate::rdma::qp::QpRef;
use crate::rdma::wr::Remote;
use crate::server::conn::Conn;

/// Posts the answer to `request`: `errno` is positive, 0 for success.
///
/// On success the data goes first, if the client wants any. Then the client's
/// key is invalidated if it asked for that, and the chunk is opened to it again
/// under a new key.
pub(in crate::server) fn answer(
    mut chunk: Idle<Chunk>,
    qp: &QpRef<'_, Conn>,
    request: &rtrs::Request,
    errno: i32,
) -> Result {
    let path = &qp.context().path;
    let rekey = path.shared.offer.new_rkey();
    let (data, invalidate) = match request.transfer() {
        Transfer::ToClient { desc, invalidate } => {
            ((errno == 0).then_some(desc), invalidate.then(|| desc.key()))
        }
        Transfer::ToServer | Transfer::None => (None, None),
    };
    let answer = IoRsp::new(chunk.id, errno, invalidate.is_some());
    let imm = Imm::IoRsp(answer).encode();

    if rekey {
        chunk.mr.bump_key();
        let message = RkeyRsp {
            id: chunk.id,
            rkey: chunk.mr.rkey(),
        };
        chunk.key.write(0, &message.encode())?;
        chunk.key.sync_for_device(0, RKEY_RSP_SIZE);
    }
    if let Some(desc) = data {
        chunk.mem.sync_for_device(0, desc.len() as usize);
    }
    chunk.stage = Stage::Answer;
    if !slot(path, chunk.id).is_some_and(|slot| slot.turn.answer()) {
        return Err(EPROTO);
    }
    qp.post_send(chunk, Await::Wire, |chunk, chain| {
        if let Some(desc) = data {
            let to = Remote {
                addr: desc.addr(),
                rkey: desc.key(),
            };
            chain.rdma_write(&[chunk.mem.sge(0, desc.len() as usize)?], to)?;
        }
        if let Some(key) = invalidate {
            chain.send_inv(key)?;
        }
        if rekey {
            chain.reg_mr(&chunk.mr, Access::RemoteWrite)?;
            chain.send_imm(&[chunk.key.sge(0, RKEY_RSP_SIZE)?], imm)
        } else {
            chain.imm_only(imm)
        }
    })
    .map_err(|(_, e)| e)
}
