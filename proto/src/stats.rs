// SPDX-License-Identifier: GPL-2.0-only

//! What is counted on a path, and how users read it.
//!
//! [`fmt::Display`] of each type prints a whole file with its newline, byte for
//! byte as the C drivers do.

use core::fmt;

use crate::atomic::AtomicU64;
use crate::atomic::Ordering::Relaxed;

/// Counters of the requests that one CPU handled.
///
/// Any CPU may use them at any time; a request that comes in while they are summed
/// up or reset is counted or is not.
#[derive(Debug, Default)]
pub struct TransferCounters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    write_bytes: AtomicU64,
}

impl TransferCounters {
    /// Nothing so far.
    pub const fn new() -> Self {
        Self {
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            write_bytes: AtomicU64::new(0),
        }
    }

    /// A request for data from the server; `bytes` of them and of the user message.
    #[inline]
    pub fn read(&self, bytes: u64) {
        self.reads.fetch_add(1, Relaxed);
        self.read_bytes.fetch_add(bytes, Relaxed);
    }

    /// A request with data for the server; `bytes` of them and of the user message.
    #[inline]
    pub fn write(&self, bytes: u64) {
        self.writes.fetch_add(1, Relaxed);
        self.write_bytes.fetch_add(bytes, Relaxed);
    }

    /// Begins again with nothing.
    pub fn reset(&self) {
        for counter in [
            &self.reads,
            &self.read_bytes,
            &self.writes,
            &self.write_bytes,
        ] {
            counter.store(0, Relaxed);
        }
    }
}

/// `stats/rdma` of a path at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerRdmaStats {
    /// Requests for data.
    pub reads: u64,
    /// Bytes of the data that were asked for, and of the user messages.
    pub read_bytes: u64,
    /// Requests with data.
    pub writes: u64,
    /// Bytes of the data that came, and of the user messages.
    pub write_bytes: u64,
}

impl ServerRdmaStats {
    /// The sum over all CPUs.
    pub fn sum<'a>(cpus: impl IntoIterator<Item = &'a TransferCounters>) -> Self {
        cpus.into_iter().fold(Self::default(), |sum, cpu| Self {
            reads: sum.reads.wrapping_add(cpu.reads.load(Relaxed)),
            read_bytes: sum.read_bytes.wrapping_add(cpu.read_bytes.load(Relaxed)),
            writes: sum.writes.wrapping_add(cpu.writes.load(Relaxed)),
            write_bytes: sum.write_bytes.wrapping_add(cpu.write_bytes.load(Relaxed)),
        })
    }
}

impl fmt::Display for ServerRdmaStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {} {} {}",
            self.reads, self.read_bytes, self.writes, self.write_bytes
        )
    }
}

/// `stats/rdma` of a path at the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientRdmaStats {
    /// Requests for data; one that moved to another path counts on both.
    pub reads: u64,
    /// Bytes of the data they asked for, and of their user messages.
    pub read_bytes: u64,
    /// Requests with data, and those that move none.
    pub writes: u64,
    /// Bytes of the data they brought, and of their user messages.
    pub write_bytes: u64,
    /// Requests in flight now. C counts them under the policy min-inflight only.
    pub inflight: u32,
    /// Requests that this path took over from another one.
    pub failovers: u64,
}

impl ClientRdmaStats {
    /// The sum over all CPUs, and what is counted for the path as a whole.
    pub fn sum<'a>(
        cpus: impl IntoIterator<Item = &'a TransferCounters>,
        inflight: u32,
        failovers: u64,
    ) -> Self {
        let sum = ServerRdmaStats::sum(cpus);
        Self {
            reads: sum.reads,
            read_bytes: sum.read_bytes,
            writes: sum.writes,
            write_bytes: sum.write_bytes,
            inflight,
            failovers,
        }
    }
}

impl fmt::Display for ClientRdmaStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {} {} {} {} {}",
            self.reads,
            self.read_bytes,
            self.writes,
            self.write_bytes,
            self.inflight,
            self.failovers
        )
    }
}

/// `stats/reconnects` of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectStats {
    /// Times the path came up again; -1 before it was up for the first time.
    pub successful: i32,
    /// Attempts that failed.
    pub failed: i32,
}

impl Default for ReconnectStats {
    fn default() -> Self {
        Self::new()
    }
}

impl ReconnectStats {
    /// A path that was never up.
    pub const fn new() -> Self {
        Self {
            successful: -1,
            failed: 0,
        }
    }

    /// The path is up, be it for the first time.
    pub fn connected(&mut self) {
        self.successful = self.successful.saturating_add(1);
    }

    /// An attempt to connect it again failed.
    pub fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// Begins again with nothing, for a path that has been up.
    pub fn reset(&mut self) {
        self.successful = 0;
        self.failed = 0;
    }
}

impl fmt::Display for ReconnectStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.successful, self.failed)
    }
}

/// `cur_latency` of a path: nanoseconds from the last heartbeat to its
/// acknowledgement, 0 before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurLatency(pub u64);

impl fmt::Display for CurLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ns", self.0)
    }
}

/// Prints `stats/cpu_migration_from` or `stats/cpu_migration_to`: a value for each
/// CPU, every one with a space after it.
///
/// Both are about completions that did not run on the CPU of their connection.
/// They count in `from` at the connection's CPU, and in `to` at the one they ran on.
///
/// The list ends where `out` has no more room, as with hundreds of CPUs a page is short.
pub fn print_migrations(
    out: &mut impl fmt::Write,
    cpus: impl IntoIterator<Item = u64>,
) -> fmt::Result {
    for count in cpus {
        if write!(out, "{count} ").is_err() {
            return Ok(());
        }
    }
    let _ = out.write_char('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_c() {
        let cpus = [TransferCounters::new(), TransferCounters::new()];
        cpus[0].read(4096 + 32);
        cpus[1].read(32);
        cpus[1].write(512 + 32);
        let server = ServerRdmaStats::sum(&cpus);
        assert_eq!(server.to_string(), "2 4160 1 544\n");
        let client = ClientRdmaStats::sum(&cpus, 3, 1);
        assert_eq!(client.to_string(), "2 4160 1 544 3 1\n");
        assert_eq!(CurLatency(12_345).to_string(), "12345 ns\n");

        let mut text = String::new();
        print_migrations(&mut text, [0, 10, 2]).unwrap();
        assert_eq!(text, "0 10 2 \n");
        text.clear();
        print_migrations(&mut text, []).unwrap();
        assert_eq!(text, "\n");
    }

    #[test]
    fn counters_are_reset_and_wrap() {
        let cpus = [TransferCounters::new(), TransferCounters::default()];
        cpus[0].write(u64::MAX);
        cpus[0].write(3);
        cpus[1].write(u64::MAX);
        let sum = ServerRdmaStats::sum(&cpus);
        assert_eq!((sum.writes, sum.write_bytes), (3, 1));
        cpus[1].read(1);
        for cpu in &cpus {
            cpu.reset();
        }
        assert_eq!(ServerRdmaStats::sum(&cpus), ServerRdmaStats::default());
        assert_eq!(ClientRdmaStats::sum([], 0, 0).to_string(), "0 0 0 0 0 0\n");
    }

    #[test]
    fn the_first_connect_is_no_reconnect() {
        let mut reconnects = ReconnectStats::new();
        assert_eq!(reconnects.to_string(), "-1 0\n");
        reconnects.connected();
        assert_eq!(reconnects.to_string(), "0 0\n");
        reconnects.failed();
        reconnects.connected();
        assert_eq!(reconnects.to_string(), "1 1\n");
        reconnects.reset();
        assert_eq!(reconnects.to_string(), "0 0\n");
        reconnects.failed = i32::MAX;
        reconnects.failed();
        assert_eq!(reconnects.failed, i32::MAX);
    }
}
