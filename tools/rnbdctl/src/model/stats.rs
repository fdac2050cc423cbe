// SPDX-License-Identifier: GPL-2.0-only

//! Counters of paths.

use serde::Serialize;

/// Traffic of a path: the file `stats/rdma`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Traffic {
    /// READs.
    pub(crate) reads: u64,
    /// Bytes of READs.
    pub(crate) read_bytes: u64,
    /// WRITEs.
    pub(crate) writes: u64,
    /// Bytes of WRITEs.
    pub(crate) written_bytes: u64,
    /// Requests in flight; clients only.
    pub(crate) in_flight: Option<u64>,
    /// Requests that the path took over from a lost one; clients only.
    pub(crate) failovers: Option<u64>,
}

impl Traffic {
    /// Parses six numbers of a client or four of a server.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers = text.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u64>, _>>().ok()?;
        let (&[reads, read_bytes, writes, written_bytes], rest) = numbers.split_first_chunk()?;

        Some(Self {
            reads,
            read_bytes,
            writes,
            written_bytes,
            in_flight: rest.first().copied(),
            failovers: rest.get(1).copied(),
        })
    }
}

/// How often a path was connected again: the file `stats/reconnects`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reconnects {
    /// Successful attempts.
    pub(crate) successful: u64,
    /// Failed attempts.
    pub(crate) failed: u64,
}

impl Reconnects {
    /// Parses two numbers.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (successful, failed) = text.trim().split_once(' ')?;

        Some(Self {
            successful: successful.parse().ok()?,
            failed: failed.trim().parse().ok()?,
        })
    }
}

/// Parses `cur_latency`, such as `12345 ns`; 0 is no latency yet.
pub(crate) fn latency_ns(text: &str) -> Option<u64> {
    let ns = text.strip_suffix(" ns")?.parse().ok()?;

    (ns != 0).then_some(ns)
}

/// Returns the name in a policy as it is read, such as `round-robin (RR: 0)`.
pub(crate) fn policy(text: &str) -> String {
    text.split(" (").next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_of_both_sides() {
        let client = Traffic::parse("1 4096 2 8192 3 4").expect("six numbers");
        assert_eq!((client.in_flight, client.failovers), (Some(3), Some(4)));
        let server = Traffic::parse("1 4096 2 8192").expect("four numbers");
        assert_eq!((server.written_bytes, server.in_flight), (8192, None));
        for wrong in ["", "1 2 3", "1 2 3 x", "-1 2 3 4"] {
            assert_eq!(Traffic::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_files() {
        let reconnects = Reconnects::parse("3 5").expect("two numbers");
        assert_eq!((reconnects.successful, reconnects.failed), (3, 5));
        assert_eq!(Reconnects::parse("3"), None);
        assert_eq!(latency_ns("12345 ns"), Some(12345));
        assert_eq!(latency_ns("0 ns"), None);
        assert_eq!(latency_ns("12345"), None);
        assert_eq!(policy("min-inflight (MI: 1)"), "min-inflight");
        assert_eq!(policy("min-inflight"), "min-inflight");
    }
}
