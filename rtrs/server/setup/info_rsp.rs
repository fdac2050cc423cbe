// SPDX-License-Identifier: GPL-2.0-only

//! INFO_RSP, by which the server tells the client where the chunks are.

use kernel::prelude::*;

use rnbd_proto::{
    auth::{
        PendingProof,
        PROOF_SIZE, //
    },
    wire::rtrs::{
        info_rsp_size,
        InfoRsp,
        SgDesc, //
    }, //
};

use crate::{
    common::message,
    kernel_ext::hmac::HmacMac,
    rdma::qp::QpRef,
    server::path::Conn, //
};

/// Sends the message that describes `chunks`, with a proof at its end if the client has given one.
pub(super) fn send<I>(
    qp: &QpRef<'_, Conn>,
    chunks: I,
    proof: Option<PendingProof<HmacMac>>,
) -> Result
where
    I: ExactSizeIterator<Item = SgDesc>,
{
    let space = if proof.is_some() { PROOF_SIZE } else { 0 };
    let len = info_rsp_size(u16::try_from(chunks.len())?) + space;
    message::send(
        qp.context().path().pd(),
        qp,
        len,
        |bytes| {
            InfoRsp::encode(chunks, bytes).map_err(|e| Error::from_errno(-e.errno()))?;
            match proof {
                Some(proof) => proof.write(bytes).map_err(|_| EINVAL),
                None => Ok(()),
            }
        },
        |conn, wc| {
            conn.check(wc, "send of the chunks' keys");
        },
    )
}
