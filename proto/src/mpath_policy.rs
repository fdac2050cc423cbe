// SPDX-License-Identifier: GPL-2.0-only

//! Multipath policies: which path of a session carries the next request.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::mpath_policy::choose;
//! use rnbd_proto::mpath_policy::MpathPolicy;
//! use rnbd_proto::mpath_policy::PathLoad;
//!
//! // The second path is not connected.
//! let inflight = [Some(7), None, Some(3)];
//! let load = |path: usize| {
//!     inflight[path].map(|inflight| PathLoad {
//!         inflight,
//!         latency_ns: 0,
//!     })
//! };
//! assert_eq!(choose(MpathPolicy::MinInflight, 3, 0, load), Some(2));
//! assert_eq!(choose(MpathPolicy::RoundRobin, 3, 1, load), Some(2));
//! assert_eq!(choose(MpathPolicy::RoundRobin, 3, 3, load), Some(0));
//! ```

use core::fmt;

use crate::text;

/// How to choose a path. Users read and write it in `mpath_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MpathPolicy {
    /// One path after the other.
    RoundRobin,
    /// The path with the fewest requests in flight.
    #[default]
    MinInflight,
    /// The path with the shortest heartbeat latency. A path without a measured latency comes
    /// last.
    MinLatency,
}

impl MpathPolicy {
    /// All policies, indexed by their numbers.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::MinInflight, Self::MinLatency];

    /// Returns the number of the policy, which users may write in place of its name.
    pub const fn number(self) -> u8 {
        match self {
            Self::RoundRobin => 0,
            Self::MinInflight => 1,
            Self::MinLatency => 2,
        }
    }

    /// Returns the policy of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the long and the short name.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::RoundRobin => ("round-robin", "RR"),
            Self::MinInflight => ("min-inflight", "MI"),
            Self::MinLatency => ("min-latency", "ML"),
        }
    }

    /// Parses a number, a short name, or anything that begins with a long name. Case does not
    /// matter; white space is refused, but for one newline at the end.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if let Ok(number) = text::parse_i32(text) {
            return Self::from_number(u8::try_from(number).ok()?);
        }
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        Self::ALL.into_iter().find(|policy| {
            let (long, short) = policy.names();
            let start = line.get(..long.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(long.as_bytes()))
                || line.eq_ignore_ascii_case(short.as_bytes())
        })
    }
}

/// Prints the policy as users read it, without a newline: `round-robin (RR: 0)`.
impl fmt::Display for MpathPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (long, short) = self.names();
        write!(f, "{long} ({short}: {})", self.number())
    }
}

/// How busy a path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathLoad {
    /// Requests in flight.
    pub inflight: u32,
    /// Latency of the last heartbeat in nanoseconds, 0 if there was none.
    pub latency_ns: u64,
}

/// Chooses one of `count` paths, if any is usable.
///
/// `load` returns how busy a path is, or `None` if it is not usable. The search begins at path
/// number `start`, modulo `count`, and wraps around; of equally good paths the first one wins.
/// Round-robin takes the first usable path, so the caller increments `start` each time.
#[inline]
pub fn choose(
    policy: MpathPolicy,
    count: usize,
    start: usize,
    load: impl Fn(usize) -> Option<PathLoad>,
) -> Option<usize> {
    let mut path = start.checked_rem(count)?;
    let mut best: Option<(usize, u64)> = None;
    for _ in 0..count {
        if let Some(load) = load(path) {
            let cost = match policy {
                MpathPolicy::RoundRobin => return Some(path),
                MpathPolicy::MinInflight => load.inflight.into(),
                // 0 means not measured: it wraps to the largest number.
                MpathPolicy::MinLatency => load.latency_ns.wrapping_sub(1),
            };
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((path, cost));
            }
        }
        path += 1;
        if path == count {
            path = 0;
        }
    }
    best.map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let cases: [(&[&str], Option<MpathPolicy>, &str); 3] = [
            (
                &["0", "+0\n", "-0", "000", "rr", "RR\n", "Round-Robin\n"],
                Some(MpathPolicy::RoundRobin),
                "round-robin (RR: 0)",
            ),
            (
                &[
                    "1",
                    "1\n",
                    "mi",
                    "mI\n",
                    "min-inflight",
                    "min-inflight (MI: 1)\n",
                ],
                Some(MpathPolicy::MinInflight),
                "min-inflight (MI: 1)",
            ),
            (
                &["2", "+2", "ml\n", "ML", "MIN-LATENCY", "min-latencyx"],
                Some(MpathPolicy::MinLatency),
                "min-latency (ML: 2)",
            ),
        ];
        for (texts, policy, shown) in cases {
            for text in texts {
                assert_eq!(MpathPolicy::parse(text.as_bytes()), policy, "{text:?}");
            }
            assert_eq!(policy.map(|p| p.to_string()).as_deref(), Some(shown));
            assert_eq!(MpathPolicy::parse(shown.as_bytes()), policy);
        }
        for text in [
            "",
            "\n",
            "3",
            "-1",
            "256",
            "0x1",
            "1\n\n",
            " 1",
            "1 ",
            "r",
            "rr ",
            " rr",
            "rr\n\n",
            "rrx",
            "mil",
            "min",
            "min-latenc",
            "min inflight",
            "99999999999",
        ] {
            assert_eq!(MpathPolicy::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_convert_both_ways() {
        for number in 0..=u8::MAX {
            let policy = MpathPolicy::from_number(number);
            assert_eq!(policy.is_some(), number < 3);
            assert!(policy.is_none_or(|p| p.number() == number));
        }
        assert_eq!(MpathPolicy::default().number(), 1);
    }

    #[test]
    fn round_robin_takes_every_usable_path_in_turn() {
        let usable = |path| (path != 2).then_some(PathLoad::default());
        let turns: Vec<_> = (0..8)
            .map(|start| choose(MpathPolicy::RoundRobin, 4, start, usable))
            .collect();
        let round = [0, 1, 3, 3].map(Some);
        assert_eq!(turns, [round, round].concat());
    }
}
