// SPDX-License-Identifier: GPL-2.0-only

//! What client and server agreed on when a path was connected.

use rnbd_proto::{
    imm::IoReqLayout,
    limits::QueueDepth,
    recv_window::recv_window,
    wire::rtrs::{
        ConnAccept,
        NextKey, //
    }, //
};

/// Limits of a path: those of the server, as far as the local device can serve them.
#[derive(Clone, Copy)]
pub(super) struct PathLimits {
    /// Requests in flight, of the whole session.
    pub(super) depth: u16,
    /// Longest data of one request, in bytes.
    pub(super) max_io_size: u32,
}

/// How the two sides of a link talk to each other.
#[derive(Clone, Copy)]
pub(super) struct Negotiated {
    /// Layout of the immediate of a request.
    pub(super) layout: IoReqLayout,
    /// Depth of the queue: message ids in use. The server may have more.
    pub(super) depth: QueueDepth,
    /// How the client learns the next key of a chunk.
    pub(super) next_key: NextKey,
    /// Whether a response is one RDMA write, which leaves keys of the client alone.
    pub(super) short_responses: bool,
    /// Requests in flight on one connection for I/O, if those that fit are eager.
    pub(super) window: Option<u16>,
}

impl Negotiated {
    /// Reads what the server accepted for a path of `connections` connections.
    pub(super) fn new(accept: &ConnAccept, connections: u16) -> Self {
        Self {
            layout: accept.layout(),
            depth: accept.queue_depth().of_client(),
            next_key: accept.next_key(),
            short_responses: accept.short_responses(),
            // By the depth of the server, which posts its receives by the same rule.
            window: accept
                .eager()
                .then(|| recv_window(accept.queue_depth(), connections)),
        }
    }

    /// Whether requests that fit are eager.
    #[inline]
    pub(super) fn is_eager(&self) -> bool {
        self.window.is_some()
    }
}
