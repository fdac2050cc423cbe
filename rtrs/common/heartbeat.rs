// SPDX-License-Identifier: GPL-2.0-only

//! Heartbeats: the periodic check that the connections of a path work and its peer is alive.

use kernel::{
    fmt,
    prelude::*,
    time::Delta, //
};

use rnbd_proto::heartbeat::{
    self,
    Heartbeat,
    HeartbeatAction, //
};

use crate::{
    kernel_ext::{
        clock,
        log::LogPeer, //
    },
    pr_warn_ratelimited,
    rdma::Progress, //
};

/// Time between two ticks of a path.
pub(crate) const INTERVAL: Delta = Delta::from_millis(heartbeat::INTERVAL_MS as i64);

/// Reason why a path must be given up.
pub(crate) enum Failure {
    /// A work request of this connection will never complete.
    Stuck(usize),
    /// Nothing arrived for too long.
    Silent,
    /// The heartbeat was not sent.
    NotSent(Error),
}

/// Does what is due at a tick of `path`, whose connections make `progress`, in the order of
/// their ids. `send` sends a heartbeat to the peer.
pub(crate) fn tick(
    path: &(impl fmt::Display + LogPeer),
    state: &Heartbeat,
    progress: impl Iterator<Item = Progress>,
    send: impl FnOnce() -> Result,
) -> core::result::Result<(), Failure> {
    for (id, progress) in progress.enumerate() {
        match progress {
            Progress::Fine => {}
            Progress::Nudged => {
                pr_warn_ratelimited!(path => "{path}: connection {id} made no progress, nudged\n");
            }
            Progress::Broken => return Err(Failure::Stuck(id)),
        }
    }
    match state.tick(clock::now_ns()) {
        HeartbeatAction::Wait => Ok(()),
        HeartbeatAction::Send => send().map_err(Failure::NotSent),
        HeartbeatAction::Dead => Err(Failure::Silent),
    }
}
