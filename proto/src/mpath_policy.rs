// SPDX-License-Identifier: GPL-2.0-only

//! Which of a session's paths carries the next request.

use core::fmt;

use crate::text;

/// How to choose. Users read and write it in `mpath_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MpathPolicy {
    /// One path after the other.
    RoundRobin,
    /// The path with the fewest requests in flight.
    #[default]
    MinInflight,
    /// The path with the quickest answer to a heartbeat. One that has not answered any
    /// comes last.
    MinLatency,
}

impl MpathPolicy {
    /// All policies, each at its number.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::MinInflight, Self::MinLatency];

    /// The number of the policy, by which users may call it as well.
    pub const fn number(self) -> u8 {
        match self {
            Self::RoundRobin => 0,
            Self::MinInflight => 1,
            Self::MinLatency => 2,
        }
    }

    /// The policy of this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The long name and the short one.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::RoundRobin => ("round-robin", "RR"),
            Self::MinInflight => ("min-inflight", "MI"),
            Self::MinLatency => ("min-latency", "ML"),
        }
    }

    /// Reads a number, a short name, or anything that begins with a long name; in
    /// upper or lower case, with no more white space than a newline at the end.
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

/// What users read, without a newline: `round-robin (RR: 0)`.
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
    /// Time that the last heartbeat took in nanoseconds, 0 if there was none.
    pub latency_ns: u64,
}

/// Chooses one of `count` paths, if any can be used.
///
/// `load` tells how busy a path is, and nothing of a path that cannot be used.
/// The paths are looked at in their order beginning with number `start`, counted
/// round; the first one wins if several are as good. Round-robin looks no further
/// than it must, so `start` is to be one more each time.
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
                // What was not measured is not quick: 0 becomes the largest number.
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
    fn numbers_are_there_and_back() {
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
