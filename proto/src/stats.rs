// SPDX-License-Identifier: GPL-2.0-only

//! Statistics of a path, as users read them.
//!
//! [`fmt::Display`] of each type prints a whole file with its newline, byte for byte as the C
//! drivers do.

use core::fmt;

/// Requests of a path, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// READs.
    pub reads: u64,
    /// Bytes of their data and user messages.
    pub read_bytes: u64,
    /// WRITEs, and requests without data.
    pub writes: u64,
    /// Bytes of their data and user messages.
    pub write_bytes: u64,
}

impl fmt::Display for Transfers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.reads, self.read_bytes, self.writes, self.write_bytes
        )
    }
}

/// `stats/rdma` of a path at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerRdmaStats(pub Transfers);

impl fmt::Display for ServerRdmaStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)
    }
}

/// `stats/rdma` of a path at the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientRdmaStats {
    /// Requests that were sent. One that moved to another path counts on both.
    pub transfers: Transfers,
    /// Requests in flight. C counts them with the policy min-inflight only.
    pub inflight: u32,
    /// Requests that moved to this path from another one.
    pub failovers: u64,
}

impl fmt::Display for ClientRdmaStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.transfers, self.inflight, self.failovers)
    }
}

/// `stats/reconnects` of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectStats {
    /// Successful reconnects; -1 before the path is up for the first time.
    pub successful: i32,
    /// Failed attempts to reconnect.
    pub failed: i32,
}

impl Default for ReconnectStats {
    fn default() -> Self {
        Self::new()
    }
}

impl ReconnectStats {
    /// Creates the statistics of a path that was never up.
    pub const fn new() -> Self {
        Self {
            successful: -1,
            failed: 0,
        }
    }

    /// Counts that the path is up, also for the first time.
    pub fn connected(&mut self) {
        self.successful = self.successful.saturating_add(1);
    }

    /// Counts a failed attempt to reconnect.
    pub fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// Sets both numbers to 0, for a path that has been up.
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

/// `cur_latency` of a path: nanoseconds from the last heartbeat to its acknowledgement, 0
/// before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurLatency(pub u64);

impl fmt::Display for CurLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ns", self.0)
    }
}

/// Prints `stats/cpu_migration_from` or `stats/cpu_migration_to`: a number for each CPU,
/// followed by a space.
///
/// Both count completions that did not run on the CPU of their connection: `from` at the
/// connection's CPU, `to` at the CPU that they ran on.
///
/// The list is truncated if `out` is full: with hundreds of CPUs a page may be too short.
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
        let transfers = Transfers {
            reads: 2,
            read_bytes: 4160,
            writes: 1,
            write_bytes: 544,
        };
        assert_eq!(ServerRdmaStats(transfers).to_string(), "2 4160 1 544\n");
        let client = ClientRdmaStats {
            transfers,
            inflight: 3,
            failovers: 1,
        };
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
