// SPDX-License-Identifier: GPL-2.0-only

//! Periodic work of a path: the time limit of its set-up, and then its heartbeats.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    async_event::EventCount,
    heartbeat::{
        self,
        HeartbeatAction, //
    },
    imm::Imm,
    path_state::ServerState, //
};

use crate::{
    kernel_ext::{
        clock,
        work::{
            self,
            OwnedWorkItem, //
        }, //
    },
    pr_warn_ratelimited,
    rdma::qp::Progress, //
};

use super::path::{
    Path,
    TICK, //
};

/// Time limit for the next connection of a path, or for INFO_REQ once all connections are there.
const STEP_LIMIT: Delta = Delta::from_secs(30);
/// Time limit for the whole set-up.
const SETUP_LIMIT: Delta = Delta::from_secs(120);
/// Time between heartbeats.
const INTERVAL: Delta = Delta::from_millis(heartbeat::INTERVAL_MS as i64);

impl OwnedWorkItem<TICK> for Path {
    fn run(this: Arc<Self>) {
        match this.state() {
            ServerState::Connecting => {
                this.fail(fmt!("set-up timed out"));
            }
            ServerState::Connected => this.send_heartbeat(),
            ServerState::Closing | ServerState::Closed => {}
        }
    }
}

impl Path {
    /// Starts the time limit for the next step of the set-up.
    pub(super) fn start_setup_timeout(self: &Arc<Self>) {
        let left = SETUP_LIMIT - self.setup().elapsed();
        work::reschedule_in::<_, TICK>(self, STEP_LIMIT.min(left.max(Delta::ZERO)));
    }

    /// Starts to send heartbeats.
    pub(super) fn start_heartbeat(self: &Arc<Self>) {
        work::reschedule_in::<_, TICK>(self, INTERVAL);
    }

    fn send_heartbeat(self: &Arc<Self>) {
        for id in 0..self.links().count() {
            match self.links().with_qp(id, |qp| qp.nudge()) {
                None | Some(Progress::Fine) => {}
                Some(Progress::Nudged) => {
                    pr_warn_ratelimited!("{self}: connection {id} made no progress, nudged\n");
                }
                Some(Progress::Broken) => {
                    return self.fail(fmt!("the device lost a response on connection {id}"));
                }
            }
        }
        match self.heartbeat().tick(clock::now_ns()) {
            HeartbeatAction::Send => {
                let service = self.service();
                let events = service.map_or(EventCount::NONE, |service| service.async_event());
                let imm = Imm::Heartbeat(events).encode();
                let sent = self.links().with_qp(0, |qp| qp.post_imm(imm));
                if let Some(Err(e)) = sent {
                    self.fail(fmt!("heartbeat not sent: {e:?}"));
                    return;
                }
            }
            HeartbeatAction::Wait => {}
            HeartbeatAction::Dead => {
                self.fail(fmt!("no message from the client for too long"));
                return;
            }
        }
        work::schedule_in::<_, TICK>(self, INTERVAL);
    }
}
