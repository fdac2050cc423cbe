// SPDX-License-Identifier: GPL-2.0-only

//! INFO_REQ, by which the client names its session on the control connection.

use kernel::prelude::*;

use rnbd_proto::wire::rtrs::{
    InfoReq,
    AUTH_INFO_REQ_SIZE,
    INFO_REQ_SIZE, //
};

use crate::{
    common::message,
    kernel_ext::log::Plain,
    rdma::{
        qp::QpRef,
        wc::{
            Wc,
            WcKind, //
        }, //
    },
    server::path::Conn, //
};

use super::bring_up;

/// Posts the receive of INFO_REQ: once, before the control connection is accepted. A second
/// INFO_REQ finds no receive.
pub(super) fn post_receive(qp: &QpRef<'_, Conn>) -> Result {
    let path = qp.context().path();
    let size = match path.req().auth() {
        true => AUTH_INFO_REQ_SIZE,
        false => INFO_REQ_SIZE,
    };
    message::receive(path.pd(), qp, size, received)
}

fn received(qp: &QpRef<'_, Conn>, wc: &Wc, message: &[u8]) {
    let conn = qp.context();
    let path = conn.path();

    if !conn.check(wc, "receive of the session's name") {
        return;
    }
    if wc.kind() != WcKind::Recv {
        return path.fail(fmt!("bad first message: {EPROTO:?}"));
    }
    match InfoReq::parse(message) {
        Ok(info) => {
            if let Err(e) = bring_up::begin(conn, qp, info.name, message) {
                path.fail(fmt!("set-up failed: {e:?}"));
            }
        }
        Err(e) => path.fail(fmt!("bad first message: {}", Plain(e))),
    }
}
