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
    ReconnectStats,
    TransferCounters, //
};

use crate::kernel_ext::{
    cpu,
    percpu::PerCpu, //
};

use super::io_request::Direction;

/// Counters of one CPU.
struct Counters {
    transfers: TransferCounters,
    failovers: AtomicU64,
    /// Responses to requests of this CPU that arrived on another one.
    migrated_from: AtomicU64,
    /// Responses that arrived on this CPU to requests of another one.
    migrated_to: AtomicU64,
    /// Responses that this CPU polled for.
    polled: AtomicU64,
}

/// Counters of one path, over all of its links.
#[pin_data]
pub(super) struct Stats {
    cpus: PerCpu<Counters>,
    /// Requests in flight, for choosing a path.
    inflight: AtomicU32,
    #[pin]
    reconnects: SpinLock<ReconnectStats>,
}

impl Stats {
    pub(super) fn new() -> Result<Arc<Self>> {
        let counters = || Counters {
            transfers: TransferCounters::new(),
            failovers: AtomicU64::new(0),
            migrated_from: AtomicU64::new(0),
            migrated_to: AtomicU64::new(0),
            polled: AtomicU64::new(0),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                cpus: PerCpu::new(counters)?,
                inflight: AtomicU32::new(0),
                reconnects <- new_spinlock!(ReconnectStats::new(), "rtrs_path_reconnects"),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts a request with `bytes` of data that is about to be sent.
    #[inline]
    pub(super) fn sending(&self, dir: Direction, bytes: u32) {
        self.inflight.fetch_add(1, Relaxed);
        let Some(cpu) = self.cpus.this() else { return };
        match dir {
            Direction::Read => cpu.transfers.read(bytes.into()),
            Direction::Write => cpu.transfers.write(bytes.into()),
        }
    }

    /// Returns the number of requests in flight.
    #[inline]
    pub(super) fn inflight(&self) -> u32 {
        self.inflight.load(Relaxed)
    }

    /// Counts a request that is not in flight any more.
    #[inline]
    pub(super) fn ended(&self) {
        self.inflight.fetch_sub(1, Relaxed);
    }

    /// Counts a response that arrived by the connection of CPU number `cpu`.
    #[inline]
    pub(super) fn response_arrived(&self, cpu: u32) {
        if cpu::current() == cpu {
            return;
        }
        if let (Some(from), Some(to)) = (self.cpus.get(cpu), self.cpus.this()) {
            from.migrated_from.fetch_add(1, Relaxed);
            to.migrated_to.fetch_add(1, Relaxed);
        }
    }

    /// Counts a response that was polled for.
    #[inline]
    pub(super) fn response_polled(&self) {
        if let Some(cpu) = self.cpus.this() {
            cpu.polled.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request taken over from a path that was lost.
    pub(super) fn failed_over(&self) {
        if let Some(cpu) = self.cpus.this() {
            cpu.failovers.fetch_add(1, Relaxed);
        }
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
        let failovers = self.cpus.iter().map(|cpu| cpu.failovers.load(Relaxed));
        let rdma = ClientRdmaStats::sum(
            self.cpus.iter().map(|cpu| &cpu.transfers),
            self.inflight.load(Relaxed),
            failovers.fold(0, u64::wrapping_add),
        );
        write!(out, "{rdma}")
    }

    pub(super) fn print_reconnects(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let reconnects = *self.reconnects.lock();
        write!(out, "{reconnects}")
    }

    pub(super) fn print_migrated_from(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let counts = self.cpus.iter().map(|cpu| cpu.migrated_from.load(Relaxed));
        stats::print_migrations(out, counts)
    }

    pub(super) fn print_migrated_to(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let counts = self.cpus.iter().map(|cpu| cpu.migrated_to.load(Relaxed));
        stats::print_migrations(out, counts)
    }

    pub(super) fn print_polled(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let counts = self.cpus.iter().map(|cpu| cpu.polled.load(Relaxed));
        writeln!(out, "{}", counts.fold(0, u64::wrapping_add))
    }

    pub(super) fn reset_polled(&self) {
        for cpu in self.cpus.iter() {
            cpu.polled.store(0, Relaxed);
        }
    }

    pub(super) fn reset_rdma(&self) {
        for cpu in self.cpus.iter() {
            cpu.transfers.reset();
            cpu.failovers.store(0, Relaxed);
        }
    }

    pub(super) fn reset_reconnects(&self) {
        self.reconnects.lock().reset();
    }

    pub(super) fn reset_migrations(&self) {
        for cpu in self.cpus.iter() {
            cpu.migrated_from.store(0, Relaxed);
            cpu.migrated_to.store(0, Relaxed);
        }
    }
}
