// SPDX-License-Identifier: GPL-2.0-only

//! Histograms of latency, as debugfs shows them (Documentation/latency.md).

use serde::Serialize;

/// The histograms of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Histograms {
    /// Whether the device counts requests.
    pub(crate) on: bool,
    /// One for each stage and kind of request.
    pub(crate) columns: Vec<Histogram>,
}

/// One histogram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Histogram {
    /// Stage and kind, such as `remote_read`.
    pub(crate) name: String,
    /// The buckets, from short to long times.
    pub(crate) buckets: Vec<Bucket>,
}

/// The number of requests that took less than a time, but not less than that of the bucket
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bucket {
    /// The time in nanoseconds; none for the last bucket.
    pub(crate) below_ns: Option<u64>,
    /// The number of requests.
    pub(crate) count: u64,
}

impl Histograms {
    /// Parses the content of a file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut words = lines.next()?.split_whitespace();
        let on = words.find_map(|word| match word {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })?;
        // A device that never counted has no histograms.
        let names = lines.next().unwrap_or_default().split_whitespace().skip(1);
        let mut columns: Vec<Histogram> = names
            .map(|name| Histogram {
                name: name.into(),
                buckets: Vec::new(),
            })
            .collect();

        for line in lines {
            let mut words = line.split_whitespace();
            let below_ns = match words.next()? {
                "inf" => None,
                limit => Some(limit.parse().ok()?),
            };

            for column in &mut columns {
                let count = words.next()?.parse().ok()?;

                column.buckets.push(Bucket { below_ns, count });
            }
        }
        Some(Self { on, columns })
    }
}

impl Histogram {
    /// Returns the number of requests.
    pub(crate) fn total(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, bucket| sum.saturating_add(bucket.count))
    }

    /// Returns the bucket that has the request at this percentage, the quickest ones first.
    pub(crate) fn percentile(&self, percent: u64) -> Option<Bucket> {
        let rank = self.total().saturating_mul(percent).div_ceil(100).max(1);
        let mut seen = 0u64;

        self.buckets.iter().copied().find(|bucket| {
            seen = seen.saturating_add(bucket.count);
            seen >= rank
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "on\nns_below wait_read remote_read\n1024 98 0\n2048 1 0\ninf 1 0\n";

    #[test]
    fn columns_and_percentiles() {
        let histograms = Histograms::parse(TEXT).expect("histograms");
        let [wait, remote] = histograms.columns.as_slice() else {
            panic!("{histograms:?}");
        };

        assert!(histograms.on);
        assert_eq!((wait.name.as_str(), wait.total()), ("wait_read", 100));
        assert_eq!(wait.percentile(50).and_then(|it| it.below_ns), Some(1024));
        assert_eq!(wait.percentile(99).and_then(|it| it.below_ns), Some(2048));
        assert_eq!(wait.percentile(100).map(|it| it.below_ns), Some(None));
        assert_eq!(remote.percentile(50), None);
    }

    #[test]
    fn garbage() {
        for text in [
            "",
            "perhaps",
            "on\nns_below a\n1024\n",
            "on\nns_below a\nx 1\n",
        ] {
            assert_eq!(Histograms::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_device_that_never_counted() {
        let histograms = Histograms::parse("counting off\n").expect("histograms");

        assert!(!histograms.on && histograms.columns.is_empty());
    }
}
