// SPDX-License-Identifier: GPL-2.0-only

//! Completions of the work requests of a chunk.

use crate::rdma::{
    op::{
        HeldOp,
        Operation, //
    },
    qp::QpRef,
    wc::Wc, //
};

use super::{
    chunk::{
        Chunk,
        Stage, //
    },
    io::{
        invalidate,
        respond, //
    },
    path::Conn,
    setup::bring_up, //
};

impl Operation for Chunk {
    type Context = Conn;

    #[inline]
    fn finish(chunk: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();

        match chunk.stage() {
            Stage::Register => {
                drop(chunk);
                if conn.check(wc, "registration of a chunk") {
                    bring_up::chunk_registered(conn, qp);
                }
            }
            Stage::Invalidate => {
                // On failure the client can still write to the chunk, and there is no request.
                if conn.check(wc, "invalidation of a chunk") {
                    invalidate::invalidated(conn, chunk);
                }
            }
            Stage::Respond => {
                let id = chunk.id();
                drop(chunk);
                if conn.check(wc, "response") {
                    respond::response_sent(conn.path(), id);
                }
            }
        }
    }
}
