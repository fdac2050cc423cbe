// SPDX-License-Identifier: GPL-2.0-only

//! State of a link that its connections share.

use core::sync::atomic::{
    AtomicBool,
    AtomicU64,
    Ordering::{
        Acquire,
        Release, //
    }, //
};

use kernel::{
    fmt,
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    async_event::EventCount,
    heartbeat::Heartbeat,
    session_state::Epoch, //
};

use crate::kernel_ext::{
    completion::Completion,
    log::LogPeer, //
};

use super::stats::Stats;

/// Receiver of the events of a link. Displays as the path, for log lines.
pub(super) trait LinkEvents: fmt::Display + LogPeer + Send + Sync {
    /// The link failed because of `why`. Called once at most, in any context.
    fn link_failed(self: Arc<Self>, why: &str);

    /// A heartbeat of the server carried `count`. In softirq.
    fn event_count_received(self: Arc<Self>, count: EventCount);
}

/// The state. It does not own the connections, so that their completions can refer to it.
#[pin_data]
pub(super) struct LinkState {
    /// Cleared when the link is lost or closed; never set again.
    alive: AtomicBool,
    /// [`Epoch::as_nonzero`] of the epoch in which the link came up, or 0.
    epoch: AtomicU64,
    events: Arc<dyn LinkEvents>,
    stats: Arc<Stats>,
    heartbeat: Heartbeat,
    /// Complete when INFO_RSP was handled, or the link failed.
    #[pin]
    info_received: Completion,
}

impl LinkState {
    pub(super) fn new(events: Arc<dyn LinkEvents>, stats: Arc<Stats>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                alive: AtomicBool::new(true),
                epoch: AtomicU64::new(0),
                events,
                stats,
                heartbeat: Heartbeat::new(),
                info_received <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the counters of the path.
    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Returns the account of heartbeats.
    pub(super) fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    /// Records the epoch in which the link came up.
    pub(super) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.as_nonzero(), Release);
    }

    /// Whether the link may carry I/O while the server knows the devices in epoch
    /// `open_epoch`. Without this check a request that was being submitted when all paths
    /// were lost could reach a server that knows other devices by these ids.
    pub(super) fn carries_io(&self, open_epoch: u64) -> bool {
        self.is_alive() && open_epoch != 0 && self.epoch.load(Acquire) == open_epoch
    }

    /// Ends the link without an event, as the path itself closes it or gives up connecting
    /// it. Returns whether it was alive.
    pub(super) fn deactivate(&self) -> bool {
        let was_alive = self.alive.swap(false, Release);
        self.info_received.complete_all();
        was_alive
    }

    /// Ends the link because of `why`. In any context.
    pub(super) fn fail(&self, why: &str) {
        if self.deactivate() {
            self.events.clone().link_failed(why);
        }
    }

    /// Passes on the event count of a heartbeat.
    pub(super) fn event_count_received(&self, count: EventCount) {
        self.events.clone().event_count_received(count);
    }

    /// Ends [`LinkState::wait_info`].
    pub(super) fn complete_info(&self) {
        self.info_received.complete_all();
    }

    /// Waits until INFO_RSP was handled or the link failed. False after `limit`; killable.
    pub(super) fn wait_info(&self, limit: Delta) -> Result<bool> {
        self.info_received.wait_killable_timeout(limit)
    }
}

impl LogPeer for LinkState {
    fn log_key(&self) -> u64 {
        self.events.log_key()
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.fmt(f)
    }
}
