// SPDX-License-Identifier: GPL-2.0-only

//! How many requests came by a path, and how large they were.

use kernel::prelude::*;
use rnbd_proto::stats::ServerRdmaStats;
use rnbd_proto::stats::TransferCounters;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::DataTransfer;

use crate::kernel_ext::percpu::PerCpu;

/// The requests of a path, counted by the CPUs that took them in.
pub(super) struct Stats(PerCpu<TransferCounters>);

impl Stats {
    /// Nothing counted yet.
    pub(super) fn new() -> Result<Self> {
        PerCpu::new(TransferCounters::new).map(Self)
    }

    /// A request arrived. Its bytes are those of the data and of the user
    /// message.
    pub(super) fn arrived(&self, request: &rtrs::RequestMsg) {
        let Some(transfers) = self.0.this() else {
            return;
        };
        let bytes = u64::from(request.offset());
        match request.transfer() {
            DataTransfer::ToServer => transfers.write(bytes),
            DataTransfer::ToClient { .. } | DataTransfer::None => transfers.read(bytes),
        }
    }

    /// Starts over. What arrives meanwhile may be counted in part.
    pub(super) fn reset(&self) {
        for transfers in self.0.iter() {
            transfers.reset();
        }
    }

    /// What `stats/rdma` shows.
    pub(super) fn rdma(&self) -> ServerRdmaStats {
        ServerRdmaStats::sum(self.0.iter())
    }
}
