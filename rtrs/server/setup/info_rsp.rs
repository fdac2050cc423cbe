// SPDX-License-Identifier: GPL-2.0-only

//! INFO_RSP, by which the server tells the client where the chunks are.

use kernel::prelude::*;

use rnbd_proto::wire::rtrs::{
    info_rsp_size,
    InfoRsp,
    SgDesc, //
};

use crate::{
    common::message,
    rdma::qp::QpRef,
    server::path::Conn, //
};

/// Sends the message that describes `chunks`.
pub(super) fn send<I>(qp: &QpRef<'_, Conn>, chunks: I) -> Result
where
    I: ExactSizeIterator<Item = SgDesc>,
{
    let len = info_rsp_size(u16::try_from(chunks.len())?);
    message::send(
        qp.context().path().pd(),
        qp,
        len,
        |bytes| match InfoRsp::encode(chunks, bytes) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::from_errno(-e.errno())),
        },
        |conn, wc| {
            conn.check(wc, "send of the chunks' keys");
        },
    )
}
