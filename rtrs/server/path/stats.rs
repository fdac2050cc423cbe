// SPDX-License-Identifier: GPL-2.0-only

//! Number and size of the requests of a path.

use kernel::prelude::*;

use rnbd_proto::{
    stats::{
        ServerRdmaStats,
        TransferCounters, //
    },
    wire::rtrs::{
        self,
        DataTransfer, //
    }, //
};

use crate::kernel_ext::percpu::PerCpu;

/// Counters of the requests of a path, one set for each CPU that handles them.
pub(in crate::server) struct Stats(PerCpu<TransferCounters>);

impl Stats {
    /// Creates counters of value 0.
    pub(super) fn new() -> Result<Self> {
        PerCpu::new(TransferCounters::new).map(Self)
    }

    /// Counts a request, and its bytes: those of the data and of the user message.
    pub(in crate::server) fn count(&self, request: &rtrs::RequestMsg) {
        let Some(transfers) = self.0.this() else {
            return;
        };
        let bytes = u64::from(request.offset());
        match request.transfer() {
            DataTransfer::ToServer => transfers.write(bytes),
            _ => transfers.read(bytes),
        }
    }

    /// Resets the counters. A request that is counted at the same time may be counted in part.
    pub(in crate::server) fn reset(&self) {
        for transfers in self.0.iter() {
            transfers.reset();
        }
    }

    /// Returns the sums that `stats/rdma` shows.
    pub(in crate::server) fn rdma(&self) -> ServerRdmaStats {
        ServerRdmaStats::sum(self.0.iter())
    }
}
