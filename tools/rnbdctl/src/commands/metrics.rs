// SPDX-License-Identifier: GPL-2.0-only

//! Metrics in the text format of OpenMetrics, for a collector of node_exporter.
//!
//! There are only counters and gauges, as older parsers of the format know no other type.

use std::fmt::Write;

use crate::{
    failure::Result,
    model::{
        self,
        Device,
        Path, //
    },
    output,
    system::System, //
};

use super::list;

/// A family of metrics, and how to get a value of it.
struct Family<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

use Kind::{
    Counter,
    Gauge, //
};

const fn family<T>(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<u64>,
) -> Family<T> {
    Family {
        name,
        kind,
        help,
        value,
    }
}

const DEVICE: [Family<Device>; 7] = [
    family(
        "rnbd_device_open",
        Gauge,
        "Whether the server has the device open.",
        |it| Some((it.state.as_deref()? == "open").into()),
    ),
    family(
        "rnbd_device_size_bytes",
        Gauge,
        "Size of the device.",
        |it| it.size,
    ),
    family("rnbd_device_reads", Counter, "Completed reads.", |it| {
        Some(it.io?.reads)
    }),
    family("rnbd_device_read_bytes", Counter, "Bytes read.", |it| {
        Some(it.io?.read_bytes)
    }),
    family("rnbd_device_writes", Counter, "Completed writes.", |it| {
        Some(it.io?.writes)
    }),
    family(
        "rnbd_device_written_bytes",
        Counter,
        "Bytes written.",
        |it| Some(it.io?.written_bytes),
    ),
    family(
        "rnbd_device_in_flight",
        Gauge,
        "Requests in flight.",
        |it| Some(it.io?.in_flight),
    ),
];

const PATH: [Family<Path>; 10] = [
    family(
        "rnbd_path_up",
        Gauge,
        "Whether the path is connected.",
        |it| Some(it.is_up().into()),
    ),
    family(
        "rnbd_path_latency_nanoseconds",
        Gauge,
        "Round-trip time of a heartbeat.",
        |it| it.latency_ns,
    ),
    family("rnbd_path_reads", Counter, "READs.", |it| {
        Some(it.traffic?.reads)
    }),
    family("rnbd_path_read_bytes", Counter, "Bytes of READs.", |it| {
        Some(it.traffic?.read_bytes)
    }),
    family("rnbd_path_writes", Counter, "WRITEs.", |it| {
        Some(it.traffic?.writes)
    }),
    family(
        "rnbd_path_written_bytes",
        Counter,
        "Bytes of WRITEs.",
        |it| Some(it.traffic?.written_bytes),
    ),
    family("rnbd_path_in_flight", Gauge, "Requests in flight.", |it| {
        it.traffic?.in_flight
    }),
    family(
        "rnbd_path_failovers",
        Counter,
        "Requests taken over from a lost path.",
        |it| it.traffic?.failovers,
    ),
    family(
        "rnbd_path_reconnects",
        Counter,
        "Successful attempts to reconnect.",
        |it| Some(it.reconnects?.successful),
    ),
    family(
        "rnbd_path_failed_reconnects",
        Counter,
        "Failed attempts to reconnect.",
        |it| Some(it.reconnects?.failed),
    ),
];

/// Prints the metrics of all devices and paths.
pub(super) fn metrics(system: &System) -> Result<String> {
    // No error for a collector, which may run before the driver is loaded.
    if let Err(failure) = list::need_driver(system) {
        output::note(&failure.to_string());
    }
    let devices = model::mapped(system);
    let sessions = model::sessions(system);
    let paths: Vec<Path> = sessions
        .into_iter()
        .flat_map(|session| session.paths)
        .collect();
    let mut text = String::new();

    print(&mut text, &DEVICE, &devices, |device| {
        labels(&[
            ("device", &device.name),
            ("session", device.session.as_deref().unwrap_or_default()),
        ])
    });
    print(&mut text, &PATH, &paths, |path| {
        labels(&[
            ("side", path.side.as_str()),
            ("session", &path.session),
            ("path", &path.name),
        ])
    });
    text += "# EOF\n";
    Ok(text)
}

fn print<T>(text: &mut String, families: &[Family<T>], items: &[T], labels: impl Fn(&T) -> String) {
    for family in families {
        let name = family.name;
        let (kind, suffix) = match family.kind {
            Counter => ("counter", "_total"),
            Gauge => ("gauge", ""),
        };
        let values = items
            .iter()
            .filter_map(|item| Some((item, (family.value)(item)?)));
        let mut samples = String::new();

        for (item, value) in values {
            // Writing to a string does not fail.
            let _ = writeln!(samples, "{name}{suffix}{{{}}} {value}", labels(item));
        }
        if !samples.is_empty() {
            let help = family.help;
            let _ = write!(
                text,
                "# TYPE {name} {kind}\n# HELP {name} {help}\n{samples}"
            );
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(key, value)| {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");

        format!("{key}=\"{value}\"")
    });

    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(
            labels(&[("a", "b"), ("c", "\"\\\n")]),
            r#"a="b",c="\"\\\n""#
        );
    }
}
