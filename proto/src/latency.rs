// SPDX-License-Identifier: GPL-2.0-only

//! Histograms of how long requests take, stage by stage.

use core::fmt;

use crate::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// Number of buckets of a histogram.
const BUCKETS: usize = 24;
/// The first bucket counts requests of less than 2 to the power of this, in nanoseconds.
const FIRST_BITS: u32 = 10;
/// Number of stages of a request.
pub const STAGES: usize = 2;

/// Kinds of requests with separate histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Requests without data.
    Other,
}

const KINDS: [(OpKind, &str); 3] = [
    (OpKind::Read, "read"),
    (OpKind::Write, "write"),
    (OpKind::Other, "other"),
];

/// Returns the bucket of a request that took `ns` nanoseconds.
///
/// Bucket `n` counts times below 1024 * 2^n and, except for the first one, of at least half of
/// that. The last one counts all longer times.
#[inline]
const fn bucket(ns: u64) -> usize {
    let bits = u64::BITS - ns.leading_zeros();
    let index = bits.saturating_sub(FIRST_BITS) as usize;

    if index < BUCKETS {
        index
    } else {
        BUCKETS - 1
    }
}

/// Returns the upper limit (exclusive) of a bucket in nanoseconds; `None` for the last one.
const fn upper_limit(bucket: usize) -> Option<u64> {
    if bucket + 1 < BUCKETS {
        Some(1 << (FIRST_BITS as usize + bucket))
    } else {
        None
    }
}

/// Histograms of the requests that one CPU counted.
///
/// Any CPU may use them at any time. A request that is counted while they are summed up or
/// reset may be missed.
#[derive(Debug)]
pub struct Histograms([[[AtomicU64; BUCKETS]; KINDS.len()]; STAGES]);

impl Default for Histograms {
    fn default() -> Self {
        Self::new()
    }
}

impl Histograms {
    /// Creates empty histograms.
    pub const fn new() -> Self {
        Self([const { [const { [const { AtomicU64::new(0) }; BUCKETS] }; KINDS.len()] }; STAGES])
    }

    /// Counts a request that took `ns` nanoseconds for stage number `stage`.
    #[inline]
    pub fn add(&self, stage: usize, kind: OpKind, ns: u64) {
        if let Some(count) = self.counter(stage, kind, bucket(ns)) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn counter(&self, stage: usize, kind: OpKind, bucket: usize) -> Option<&AtomicU64> {
        self.0.get(stage)?.get(kind as usize)?.get(bucket)
    }

    /// Sets all counters to 0.
    pub fn reset(&self) {
        for count in self.0.iter().flatten().flatten() {
            count.store(0, Relaxed);
        }
    }
}

/// Prints the sums of `counts` as a table, with `stages` in the names of its columns.
///
/// Each bucket has a line with its upper limit in nanoseconds (`inf` for the last one) and the
/// numbers of requests.
pub fn print<'a>(
    out: &mut impl fmt::Write,
    stages: [&str; STAGES],
    counts: impl Iterator<Item = &'a Histograms> + Clone,
) -> fmt::Result {
    out.write_str("ns_below")?;
    for stage in stages {
        for (_, kind) in KINDS {
            write!(out, " {stage}_{kind}")?;
        }
    }
    out.write_char('\n')?;
    for bucket in 0..BUCKETS {
        match upper_limit(bucket) {
            Some(ns) => write!(out, "{ns}")?,
            None => out.write_str("inf")?,
        }
        for stage in 0..STAGES {
            for (kind, _) in KINDS {
                let each = counts
                    .clone()
                    .filter_map(|one| one.counter(stage, kind, bucket));
                let sum = each.fold(0u64, |sum, count| sum.wrapping_add(count.load(Relaxed)));
                write!(out, " {sum}")?;
            }
        }
        out.write_char('\n')?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_powers_of_two_from_a_microsecond_on() {
        for (ns, index) in [
            (0, 0),
            (1023, 0),
            (1024, 1),
            (2047, 1),
            (2048, 2),
            (1_000_000, 10),
            (1_000_000_000, 20),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket(ns), index, "{ns} ns");
        }
        for index in 0..BUCKETS - 1 {
            let ns = upper_limit(index).unwrap();
            assert_eq!((bucket(ns - 1), bucket(ns)), (index, index + 1), "{ns} ns");
        }
        assert_eq!(upper_limit(BUCKETS - 1), None);
    }

    #[test]
    fn counts_of_all_cpus_are_summed_in_their_columns() {
        let cpus = [Histograms::new(), Histograms::new()];
        cpus[0].add(0, OpKind::Read, 5);
        cpus[1].add(0, OpKind::Read, 6);
        cpus[1].add(1, OpKind::Write, 1500);
        cpus[1].add(1, OpKind::Other, u64::MAX);
        cpus[1].add(STAGES, OpKind::Other, 0);
        let mut text = String::new();
        print(&mut text, ["a", "b"], cpus.iter()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + BUCKETS);
        assert_eq!(
            lines[0],
            "ns_below a_read a_write a_other b_read b_write b_other"
        );
        assert_eq!(lines[1], "1024 2 0 0 0 0 0");
        assert_eq!(lines[2], "2048 0 0 0 0 1 0");
        assert_eq!(lines[3], "4096 0 0 0 0 0 0");
        assert_eq!(lines[BUCKETS], "inf 0 0 0 0 0 1");

        cpus.iter().for_each(Histograms::reset);
        let mut text = String::new();
        print(&mut text, ["a", "b"], cpus.iter()).unwrap();
        assert!(text
            .lines()
            .skip(1)
            .all(|line| line.ends_with(" 0 0 0 0 0 0")));
    }
}
