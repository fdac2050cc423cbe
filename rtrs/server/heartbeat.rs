// SPDX-License-Identifier: GPL-2.0-only

//! What a path does by the clock: it gives up a set-up that does not come to an
//! end, and then sends heartbeats.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::async_event::EventCount;
use rnbd_proto::heartbeat;
use rnbd_proto::heartbeat::HeartbeatAction;
use rnbd_proto::imm::Imm;
use rnbd_proto::path_state::ServerState;

use super::path::Path;
use super::path::TICK;
use crate::kernel_ext::clock;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use crate::pr_warn_ratelimited;
use crate::rdma::qp::Progress;

/// How long the next connection of a path may take to come in, or its client to ask
/// for the chunks once all are there.
const STEP_LIMIT: Delta = Delta::from_secs(30);
/// How long all of that may take.
const SETUP_LIMIT: Delta = Delta::from_secs(120);
const BEAT: Delta = Delta::from_millis(heartbeat::INTERVAL_MS as i64);

impl OwnedWorkItem<TICK> for Path {
    fn run(this: Arc<Self>) {
        match this.state.get() {
            ServerState::Connecting => {
                this.fail(fmt!("the client did not complete it in time"));
            }
            ServerState::Connected => this.beat(),
            ServerState::Closing | ServerState::Closed => {}
        }
    }
}

impl Path {
    /// Gives the peer time for its next step of setting up the path.
    pub(super) fn await_setup(self: &Arc<Self>) {
        let left = SETUP_LIMIT - self.began.elapsed();
        work::reschedule_in::<_, TICK>(self, STEP_LIMIT.min(left.max(Delta::ZERO)));
    }

    /// Begins to send heartbeats.
    pub(super) fn start_heartbeat(self: &Arc<Self>) {
        work::reschedule_in::<_, TICK>(self, BEAT);
    }

    fn beat(self: &Arc<Self>) {
        for id in 0..self.count() {
            match self.with_qp(id, |qp| qp.nudge()) {
                None | Some(Progress::Fine) => {}
                Some(Progress::Nudged) => {
                    pr_warn_ratelimited!("{self}: connection {id} made no progress, nudged\n");
                }
                Some(Progress::Broken) => {
                    return self.fail(fmt!("the device lost an answer on connection {id}"));
                }
            }
        }
        match self.heartbeat.tick(clock::now_ns()) {
            HeartbeatAction::Send => {
                let service = self.service.as_ref();
                let news = service.map_or(EventCount::NONE, |service| service.async_event());
                let imm = Imm::Heartbeat(news).encode();
                let sent = self.with_qp(0, |qp| qp.post_imm(imm));
                if let Some(Err(e)) = sent {
                    self.fail(fmt!("heartbeat not sent: {e:?}"));
                    return;
                }
            }
            HeartbeatAction::Wait => {}
            HeartbeatAction::Dead => {
                self.fail(fmt!("nothing heard of the client any more"));
                return;
            }
        }
        work::schedule_in::<_, TICK>(self, BEAT);
    }
}
