// SPDX-License-Identifier: GPL-2.0-only

//! Number and size of the requests of a path.

use kernel::prelude::*;

use rnbd_proto::{
    stats::ServerRdmaStats,
    wire::rtrs::{
        self,
        DataTransfer, //
    }, //
};

use crate::common::transfer_counters::TransferCounters;

/// Counters of the requests of a path.
pub(in crate::server) struct Stats(TransferCounters);

impl Stats {
    /// Creates counters of value 0.
    pub(super) fn new() -> Result<Self> {
        TransferCounters::new().map(Self)
    }

    /// Counts a request, and its bytes: those of the data and of the user message.
    pub(in crate::server) fn count(&self, request: &rtrs::RequestMsg) {
        let bytes = u64::from(request.offset());
        match request.transfer() {
            DataTransfer::ToServer => self.0.write(bytes),
            _ => self.0.read(bytes),
        }
    }

    /// Resets the counters.
    pub(in crate::server) fn reset(&self) {
        self.0.reset();
    }

    /// Returns the sums that `stats/rdma` shows.
    pub(in crate::server) fn rdma(&self) -> ServerRdmaStats {
        ServerRdmaStats(self.0.sum())
    }
}
