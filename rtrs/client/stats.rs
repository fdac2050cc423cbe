// SPDX-License-Identifier: GPL-2.0-only

//! Statistics of a path.

use core::{
    fmt,
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};

use rnbd_proto::stats::{
    self,
    ClientRdmaStats,
    ReconnectStats, //
};

use crate::{
    common::transfer_counters::TransferCounters,
    kernel_ext::{
        cache_padded::CachePadded,
        cpu,
        percpu::PerCpu,
        percpu_counters::PerCpuCounters, //
    }, //
};

use super::io_request::Direction;

/// Requests that were sent less those that ended. Of one CPU it may be negative.
const INFLIGHT: usize = 0;
const FAILOVERS: usize = 1;
/// Responses that arrived on this CPU to requests of another one.
const MIGRATED_TO: usize = 2;
/// Responses that this CPU polled for.
const POLLED: usize = 3;

/// Counters of one path, over all of its links.
#[pin_data]
pub(super) struct Stats {
    transfers: TransferCounters,
    counters: PerCpuCounters<4>,
    /// Responses to requests of each CPU that arrived on another one. That one writes it, so it is
    /// apart from what the CPU counts itself.
    migrated_from: PerCpu<AtomicU64>,
    /// Requests in flight, of those that are sent while paths are compared by it.
    compared: CachePadded<AtomicU32>,
    #[pin]
    reconnects: SpinLock<ReconnectStats>,
}

impl Stats {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                transfers: TransferCounters::new()?,
                counters: PerCpuCounters::new()?,
                migrated_from: PerCpu::new(|| AtomicU64::new(0))?,
                compared: CachePadded(AtomicU32::new(0)),
                reconnects <- new_spinlock!(ReconnectStats::new(), "rtrs_path_reconnects"),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts a request with `bytes` of data that is about to be sent. `compared` says whether it
    /// counts in [`Self::inflight`], which all CPUs share.
    #[inline]
    pub(super) fn sending(&self, dir: Direction, bytes: u32, compared: bool) {
        if compared {
            self.compared.fetch_add(1, Relaxed);
        }
        self.counters.add(INFLIGHT, 1);
        match dir {
            Direction::Read => self.transfers.read(bytes.into()),
            Direction::Write => self.transfers.write(bytes.into()),
        }
    }

    /// Returns the number of requests in flight, for choosing a path.
    #[inline]
    pub(super) fn inflight(&self) -> u32 {
        self.compared.load(Relaxed)
    }

    /// Counts a request that is not in flight any more, with the `compared` it was sent with.
    #[inline]
    pub(super) fn ended(&self, compared: bool) {
        if compared {
            self.compared.fetch_sub(1, Relaxed);
        }
        self.counters.decrement(INFLIGHT);
    }

    /// Counts a response that arrived by the connection of CPU number `cpu`.
    #[inline]
    pub(super) fn response_arrived(&self, cpu: u32) {
        if cpu::current() == cpu {
            return;
        }
        if let Some(from) = self.migrated_from.get(cpu) {
            from.fetch_add(1, Relaxed);
            self.counters.add(MIGRATED_TO, 1);
        }
    }

    /// Counts a response that was polled for.
    #[inline]
    pub(super) fn response_polled(&self) {
        self.counters.add(POLLED, 1);
    }

    /// Counts a request taken over from a path that was lost.
    pub(super) fn failed_over(&self) {
        self.counters.add(FAILOVERS, 1);
    }

    /// Counts an attempt to connect the path.
    pub(super) fn connected(&self, success: bool) {
        let mut reconnects = self.reconnects.lock();
        match success {
            true => reconnects.connected(),
            false => reconnects.failed(),
        }
    }

    pub(super) fn print_rdma(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let rdma = ClientRdmaStats {
            transfers: self.transfers.sum(),
            // CAST: As the CPUs are summed up one after the other, a request that ends meanwhile may
            // count as ended only. No path has more than an `i32` has values.
            inflight: (self.counters.sum(INFLIGHT) as i32).max(0).unsigned_abs(),
            failovers: self.counters.sum(FAILOVERS),
        };
        write!(out, "{rdma}")
    }

    pub(super) fn print_reconnects(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let reconnects = *self.reconnects.lock();
        write!(out, "{reconnects}")
    }

    pub(super) fn print_migrated_from(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let counts = self.migrated_from.iter().map(|count| count.load(Relaxed));
        stats::print_migrations(out, counts)
    }

    pub(super) fn print_migrated_to(&self, out: &mut impl fmt::Write) -> fmt::Result {
        stats::print_migrations(out, self.counters.by_cpu(MIGRATED_TO))
    }

    pub(super) fn print_polled(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(out, "{}", self.counters.sum(POLLED))
    }

    pub(super) fn reset_polled(&self) {
        self.counters.reset(POLLED);
    }

    pub(super) fn reset_rdma(&self) {
        self.transfers.reset();
        self.counters.reset(FAILOVERS);
    }

    pub(super) fn reset_reconnects(&self) {
        self.reconnects.lock().reset();
    }

    pub(super) fn reset_migrations(&self) {
        for count in self.migrated_from.iter() {
            count.store(0, Relaxed);
        }
        self.counters.reset(MIGRATED_TO);
    }
}
