// SPDX-License-Identifier: GPL-2.0-only

//! How busy devices and paths are: what two samples of their counters differ by.

use std::time::Duration;

use serde::Serialize;

use crate::{
    model::{
        self,
        BlockIo,
        Path,
        Side,
        Traffic, //
    },
    system::System, //
};

/// The counters of a machine at a time.
#[derive(Debug)]
pub(crate) struct Sample {
    /// When it was taken, since any start.
    time: Duration,
    devices: Vec<DeviceSample>,
    paths: Vec<Path>,
}

/// A mapped or an exported device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DeviceSample {
    side: Side,
    name: String,
    sessions: Vec<String>,
    state: Option<String>,
    io: Option<BlockIo>,
}

/// How busy a machine was between two samples.
#[derive(Debug, Serialize)]
pub(crate) struct Activity {
    /// Seconds between the samples; none for the first one.
    pub(crate) seconds: Option<f64>,
    /// Mapped and exported devices.
    pub(crate) devices: Vec<DeviceActivity>,
    /// Paths of both sides.
    pub(crate) paths: Vec<PathActivity>,
}

/// How busy a device was.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceActivity {
    /// Whether the device is mapped (`client`) or exported (`server`).
    pub(crate) side: Side,
    /// Its name in `/sys/class/block`.
    pub(crate) name: String,
    /// The session that has mapped it, or those that have it open.
    pub(crate) sessions: Vec<String>,
    /// State of a mapped device.
    pub(crate) state: Option<String>,
    /// Requests and bytes.
    #[serde(flatten)]
    pub(crate) rates: Rates,
    /// Mean time that a read took, in nanoseconds.
    pub(crate) read_ns: Option<u64>,
    /// Mean time that a write took, in nanoseconds.
    pub(crate) write_ns: Option<u64>,
    /// Requests in flight at the second sample.
    pub(crate) in_flight: Option<u64>,
}

/// How busy a path was.
#[derive(Debug, Serialize)]
pub(crate) struct PathActivity {
    /// Which end this machine is.
    pub(crate) side: Side,
    /// Name of the session.
    pub(crate) session: String,
    /// Name of the path.
    pub(crate) name: String,
    /// State of a path of a client.
    pub(crate) state: Option<String>,
    /// Requests and bytes.
    #[serde(flatten)]
    pub(crate) rates: Rates,
    /// Round-trip time of the last heartbeat in nanoseconds.
    pub(crate) latency_ns: Option<u64>,
    /// Requests in flight at the second sample.
    pub(crate) in_flight: Option<u64>,
}

/// Requests and bytes per second. They are not known at the first sample, nor after the counters
/// were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Reads.
    pub(crate) reads_per_s: Option<f64>,
    /// Bytes read.
    pub(crate) read_bytes_per_s: Option<f64>,
    /// Writes.
    pub(crate) writes_per_s: Option<f64>,
    /// Bytes written.
    pub(crate) written_bytes_per_s: Option<f64>,
}

impl Sample {
    /// Reads the counters.
    pub(crate) fn take(system: &System, time: Duration) -> Self {
        let mapped = model::mapped(system).into_iter().map(|it| DeviceSample {
            side: Side::Client,
            name: it.name,
            sessions: it.session.into_iter().collect(),
            state: it.state,
            io: it.io,
        });
        let exported = model::exported(system).into_iter().map(|it| DeviceSample {
            side: Side::Server,
            io: BlockIo::read(system, &it.name),
            name: it.name,
            sessions: it.clients.into_iter().map(|it| it.session).collect(),
            state: None,
        });
        let sessions = model::sessions(system).into_iter();

        Self {
            time,
            devices: mapped.chain(exported).collect(),
            paths: sessions.flat_map(|it| it.paths).collect(),
        }
    }

    /// Returns how busy the machine was since an earlier sample.
    pub(crate) fn since(&self, earlier: Option<&Self>) -> Activity {
        let seconds = earlier
            .and_then(|earlier| self.time.checked_sub(earlier.time))
            .map(|time| time.as_secs_f64())
            .filter(|seconds| *seconds > 0.0);
        let devices = self.devices.iter().map(|device| {
            let old = earlier.into_iter().flat_map(|it| &it.devices);
            let mut old = old.filter(|it| it.side == device.side && it.name == device.name);

            device.since(old.next().and_then(|it| it.io), seconds)
        });
        let paths = self.paths.iter().map(|path| {
            let old = earlier.into_iter().flat_map(|it| &it.paths);
            let mut old = old.filter(|it| it.directory() == path.directory());

            path_since(path, old.next().and_then(|it| it.traffic), seconds)
        });

        Activity {
            seconds,
            devices: devices.collect(),
            paths: paths.collect(),
        }
    }
}

impl DeviceSample {
    fn since(&self, old: Option<BlockIo>, seconds: Option<f64>) -> DeviceActivity {
        let both = self.io.zip(old);
        let counters = |io: BlockIo| [io.reads, io.read_bytes, io.writes, io.written_bytes];
        let mean = |ms: fn(&BlockIo) -> u64, count: fn(&BlockIo) -> u64| {
            let (new, old) = both?;
            let ms = ms(&new).checked_sub(ms(&old))?;

            ms.saturating_mul(1_000_000)
                .checked_div(count(&new).checked_sub(count(&old))?)
        };

        DeviceActivity {
            side: self.side,
            name: self.name.clone(),
            sessions: self.sessions.clone(),
            state: self.state.clone(),
            rates: Rates::new(
                both.map(|(new, old)| (counters(new), counters(old))),
                seconds,
            ),
            read_ns: mean(|it| it.read_ms, |it| it.reads),
            write_ns: mean(|it| it.write_ms, |it| it.writes),
            in_flight: self.io.map(|io| io.in_flight),
        }
    }
}

fn path_since(path: &Path, old: Option<Traffic>, seconds: Option<f64>) -> PathActivity {
    let counters = |it: Traffic| [it.reads, it.read_bytes, it.writes, it.written_bytes];
    let both = path.traffic.zip(old);

    PathActivity {
        side: path.side,
        session: path.session.clone(),
        name: path.name.clone(),
        state: path.state.clone(),
        rates: Rates::new(
            both.map(|(new, old)| (counters(new), counters(old))),
            seconds,
        ),
        latency_ns: path.latency_ns,
        in_flight: path.traffic.and_then(|it| it.in_flight),
    }
}

impl Rates {
    fn new(counters: Option<([u64; 4], [u64; 4])>, seconds: Option<f64>) -> Self {
        let rate = |at: usize| {
            let (new, old) = counters?;
            let more = new.get(at)?.checked_sub(*old.get(at)?)?;

            // One decimal place. Counters of 53 bits and more are rounded.
            #[expect(clippy::cast_precision_loss)]
            Some((more as f64 / seconds? * 10.0).round() / 10.0)
        };

        Self {
            reads_per_s: rate(0),
            read_bytes_per_s: rate(1),
            writes_per_s: rate(2),
            written_bytes_per_s: rate(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(reads: u64, read_ms: u64, in_flight: u64) -> DeviceSample {
        DeviceSample {
            side: Side::Client,
            name: "rnbd0".into(),
            sessions: vec!["s1".into()],
            state: Some("open".into()),
            io: Some(BlockIo {
                reads,
                read_bytes: reads * 4096,
                read_ms,
                writes: 7,
                written_bytes: 4096,
                write_ms: 9,
                in_flight,
            }),
        }
    }

    fn sample(ms: u64, devices: Vec<DeviceSample>) -> Sample {
        Sample {
            time: Duration::from_millis(ms),
            devices,
            paths: vec![],
        }
    }

    fn between(old: &Sample, new: &Sample) -> DeviceActivity {
        new.since(Some(old)).devices.swap_remove(0)
    }

    #[test]
    fn rates_are_differences_per_second() {
        let old = sample(1000, vec![device(100, 50, 1)]);
        let new = sample(3000, vec![device(300, 150, 4)]);
        let activity = between(&old, &new);

        assert_eq!(activity.rates.reads_per_s, Some(100.0));
        assert_eq!(activity.rates.read_bytes_per_s, Some(409_600.0));
        assert_eq!(activity.rates.writes_per_s, Some(0.0));
        // 100 ms for 200 reads; no write has a time.
        assert_eq!(activity.read_ns, Some(500_000));
        assert_eq!(activity.write_ns, None);
        assert_eq!(activity.in_flight, Some(4));
    }

    #[test]
    fn what_is_not_known_has_no_rate() {
        let first = sample(1000, vec![device(100, 50, 1)]);
        let alone = first.since(None);

        assert_eq!(alone.seconds, None);
        assert_eq!(alone.devices[0].rates, Rates::default());
        assert_eq!(alone.devices[0].in_flight, Some(1));
        // A device that has come, and one whose counters were reset.
        let empty = sample(0, vec![]);
        assert_eq!(between(&empty, &first).rates, Rates::default());
        let reset = between(&first, &sample(2000, vec![device(3, 1, 0)]));
        assert_eq!((reset.rates.reads_per_s, reset.read_ns), (None, None));
        // Two samples of the same time.
        assert_eq!(between(&first, &first).rates, Rates::default());
    }
}
