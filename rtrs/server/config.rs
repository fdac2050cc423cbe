// SPDX-License-Identifier: GPL-2.0-only

//! Settings that all paths and sessions of a server share.

use rnbd_proto::{
    limits::ServerLimits,
    path_memory::PathShape,
    quota::Quota,
    wire::rtrs::{
        ConnAccept,
        ConnReq, //
    }, //
};

use crate::kernel_ext::workqueue::WorkqueueHandle;

use super::{
    chunk,
    eager_buf, //
};

/// Settings of a server; they do not change while it runs.
pub(super) struct ServerConfig {
    pub(super) limits: ServerLimits,
    /// Offered to each client, together with the options that the client asks for.
    pub(super) offer: ConnAccept,
    /// Whether requests may be eager.
    pub(super) eager: bool,
    /// What clients may take.
    pub(super) quota: Quota,
    /// Runs heartbeats and teardowns.
    pub(super) queue: WorkqueueHandle,
    /// Runs the hand-over of requests to the service.
    pub(super) requests: WorkqueueHandle,
}

impl ServerConfig {
    /// Returns what a client that sent `req` is offered, on a device that can receive eager
    /// requests or cannot.
    pub(super) fn offer_for(&self, req: &ConnReq, receives_eager: bool) -> ConnAccept {
        self.offer
            .with_inline_imm(req.inline_imm())
            .with_short_responses(req.short_responses())
            .with_eager(self.eager && req.eager() && receives_eager)
    }

    /// Returns the shape of a path that `req` asks for, with such an `offer`.
    pub(super) fn shape_of(&self, req: &ConnReq, offer: &ConnAccept) -> PathShape {
        PathShape {
            limits: self.limits,
            chunk: chunk::memory(self.limits) as u64,
            new_rkey: offer.new_rkey(),
            connections: req.count(),
            inline_imm: offer.inline_imm(),
            eager_data: match offer.eager() {
                true => eager_buf::memory() as u64,
                false => 0,
            },
        }
    }

    /// Returns the bytes of memory that a path which `req` asks for takes at most once it is up,
    /// whatever its device can receive.
    pub(super) fn memory_of(&self, req: &ConnReq) -> u64 {
        let bytes = |receives_eager| {
            let offer = self.offer_for(req, receives_eager);
            self.shape_of(req, &offer).bytes()
        };
        bytes(true).max(bytes(false))
    }
}
