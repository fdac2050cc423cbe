// SPDX-License-Identifier: GPL-2.0-only

//! Periodic work of a path: the time limit of its set-up, and then its heartbeats.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    async_event::EventCount,
    imm::Imm,
    path_state::ServerState, //
};

use crate::{
    common::heartbeat::{
        self,
        Failure, //
    },
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    },
    rdma::Progress, //
};

use super::path::{
    Path,
    TICK, //
};

/// Time limit for the next connection of a path, or for INFO_REQ once all connections are there.
const STEP_LIMIT: Delta = Delta::from_secs(30);
/// Time limit for the whole set-up.
const SETUP_LIMIT: Delta = Delta::from_secs(120);

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
        work::reschedule_in::<_, TICK>(self, heartbeat::INTERVAL);
    }

    fn send_heartbeat(self: &Arc<Self>) {
        let links = self.links();
        let progress = (0..links.count())
            .map(|id| links.with_qp(id, |qp| qp.nudge()).unwrap_or(Progress::Fine));
        let result = heartbeat::tick(&**self, self.heartbeat(), progress, || {
            let service = self.service();
            let events = service.map_or(EventCount::NONE, |service| service.async_event());
            let imm = Imm::Heartbeat(events).encode();
            links.with_qp(0, |qp| qp.post_imm(imm)).unwrap_or(Ok(()))
        });
        match result {
            Ok(()) => {
                work::schedule_in::<_, TICK>(self, heartbeat::INTERVAL);
            }
            Err(Failure::Stuck(id)) => {
                self.fail(fmt!("the device lost a response on connection {id}"));
            }
            Err(Failure::Silent) => self.fail(fmt!("no message from the client for too long")),
            Err(Failure::NotSent(e)) => self.fail(fmt!("heartbeat not sent: {e:?}")),
        }
    }
}
