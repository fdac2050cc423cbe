// SPDX-License-Identifier: GPL-2.0-only

//! Number and size of the requests of a path, counted by each CPU for itself.

use kernel::prelude::*;

use rnbd_proto::stats::Transfers;

use crate::kernel_ext::percpu_counters::PerCpuCounters;

const READS: usize = 0;
const READ_BYTES: usize = READS + 1;
const WRITES: usize = 2;
const WRITE_BYTES: usize = WRITES + 1;

/// Counters of the requests of one path.
pub(crate) struct TransferCounters(PerCpuCounters<4>);

impl TransferCounters {
    /// Creates counters of value 0.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        PerCpuCounters::new().map(Self)
    }

    /// Counts a READ with `bytes` of data and user message. Any context.
    #[inline]
    pub(crate) fn read(&self, bytes: u64) {
        self.0.count(READS, bytes);
    }

    /// Counts a WRITE with `bytes` of data and user message. Any context.
    #[inline]
    pub(crate) fn write(&self, bytes: u64) {
        self.0.count(WRITES, bytes);
    }

    /// Returns the sums over all CPUs.
    pub(crate) fn sum(&self) -> Transfers {
        Transfers {
            reads: self.0.sum(READS),
            read_bytes: self.0.sum(READ_BYTES),
            writes: self.0.sum(WRITES),
            write_bytes: self.0.sum(WRITE_BYTES),
        }
    }

    /// Sets all to 0. A request that is counted at the same time may be counted in part.
    pub(crate) fn reset(&self) {
        for counter in [READS, READ_BYTES, WRITES, WRITE_BYTES] {
            self.0.reset(counter);
        }
    }
}
