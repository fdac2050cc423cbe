// SPDX-License-Identifier: GPL-2.0-only

//! How busy devices and paths are, as cells of tables.

use crate::rates::{
    Activity,
    DeviceActivity,
    PathActivity,
    Rates, //
};

use super::{
    bytes,
    cell,
    duration,
    table, //
};

/// Columns of devices.
pub(super) const DEVICE: [&str; 11] = [
    "DEVICE",
    "SIDE",
    "SESSION",
    "STATE",
    "READS/S",
    "WRITES/S",
    "READ/S",
    "WRITTEN/S",
    "READ TIME",
    "WRITE TIME",
    "IN FLIGHT",
];

/// Columns of paths.
pub(super) const PATH: [&str; 10] = [
    "PATH",
    "SIDE",
    "SESSION",
    "STATE",
    "READS/S",
    "WRITES/S",
    "READ/S",
    "WRITTEN/S",
    "LATENCY",
    "IN FLIGHT",
];

/// Prints an activity as text.
pub(crate) fn activity(activity: &Activity) -> String {
    let devices = activity.devices.iter().map(device).collect();
    let paths: Vec<_> = activity.paths.iter().map(path).collect();
    let mut text = table(DEVICE, devices);

    if !paths.is_empty() {
        text.push('\n');
        text += &table(PATH, paths);
    }
    text
}

/// Returns the cells of a device.
pub(super) fn device(it: &DeviceActivity) -> [String; 11] {
    let [reads, writes, read, written] = rates(&it.rates);

    [
        it.name.clone(),
        it.side.as_str().into(),
        it.sessions.join(" "),
        cell(it.state.as_deref()),
        reads,
        writes,
        read,
        written,
        cell(it.read_ns.map(duration)),
        cell(it.write_ns.map(duration)),
        cell(it.in_flight),
    ]
}

/// Returns the cells of a path.
pub(super) fn path(it: &PathActivity) -> [String; 10] {
    let [reads, writes, read, written] = rates(&it.rates);

    [
        it.name.clone(),
        it.side.as_str().into(),
        it.session.clone(),
        cell(it.state.as_deref()),
        reads,
        writes,
        read,
        written,
        cell(it.latency_ns.map(duration)),
        cell(it.in_flight),
    ]
}

fn rates(rates: &Rates) -> [String; 4] {
    let count = |rate: Option<f64>| cell(rate.map(|rate| format!("{rate:.0}")));
    // No rate is negative, and none is near the limit.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let size = |rate: Option<f64>| cell(rate.map(|rate| bytes(rate.round() as u64)));

    [
        count(rates.reads_per_s),
        count(rates.writes_per_s),
        size(rates.read_bytes_per_s),
        size(rates.written_bytes_per_s),
    ]
}
