// SPDX-License-Identifier: GPL-2.0-only

//! Settings that all paths and sessions of a server share.

use rnbd_proto::{
    limits::ServerLimits,
    wire::rtrs::ConnAccept, //
};

use crate::kernel_ext::workqueue::WorkqueueHandle;

/// Settings of a server; they do not change while it runs.
pub(super) struct ServerConfig {
    pub(super) limits: ServerLimits,
    /// Offered to each client, together with the options that the client asks for.
    pub(super) offer: ConnAccept,
    /// Runs heartbeats and teardowns.
    pub(super) queue: WorkqueueHandle,
    /// Runs the hand-over of requests to the service.
    pub(super) requests: WorkqueueHandle,
}
