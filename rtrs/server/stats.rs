// SPDX-License-Identifier: GPL-2.0-only

//! How many requests came by a path, and how large they were.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use kernel::fmt;
use kernel::prelude::*;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::Transfer;

use crate::support::percpu::PerCpu;

/// Requests of one direction.
#[derive(Default)]
struct Counter {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// What one CPU counted.
#[derive(Default)]
struct Counters {
    reads: Counter,
    writes: Counter,
}

/// The requests of a path, counted by the CPUs that took them in.
pub(super) struct Stats(PerCpu<Counters>);

impl Stats {
    /// Nothing counted yet.
    pub(super) fn new() -> Result<Self> {
        PerCpu::new(Counters::default).map(Self)
    }

    /// A request arrived. Its bytes are those of the data and of the user
    /// message.
    pub(super) fn arrived(&self, request: &rtrs::Request) {
        let Some(counters) = self.0.this() else {
            return;
        };
        let counter = match request.transfer() {
            Transfer::ToServer => &counters.writes,
            Transfer::ToClient { .. } | Transfer::None => &counters.reads,
        };
        counter.count.fetch_add(1, Relaxed);
        let bytes = u64::from(request.offset());
        counter.bytes.fetch_add(bytes, Relaxed);
    }

    /// Starts over. What arrives meanwhile may be counted in part.
    pub(super) fn reset(&self) {
        for counters in self.0.iter() {
            for counter in [&counters.reads, &counters.writes] {
                counter.count.store(0, Relaxed);
                counter.bytes.store(0, Relaxed);
            }
        }
    }

    /// Number and bytes of one direction.
    fn sum(&self, of: fn(&Counters) -> &Counter) -> (u64, u64) {
        self.0.iter().map(of).fold((0, 0), |(count, bytes), one| {
            (
                count.wrapping_add(one.count.load(Relaxed)),
                bytes.wrapping_add(one.bytes.load(Relaxed)),
            )
        })
    }
}

/// As `stats/rdma` shows them: number and bytes of reads, then of writes.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reads, read_bytes) = self.sum(|counters| &counters.reads);
        let (writes, write_bytes) = self.sum(|counters| &counters.writes);
        f.write_fmt(fmt!("{reads} {read_bytes} {writes} {write_bytes}"))
    }
}
