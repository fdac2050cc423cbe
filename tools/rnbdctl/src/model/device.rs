// SPDX-License-Identifier: GPL-2.0-only

//! Mapped devices.

use serde::Serialize;

use crate::system::System;

/// Bytes of a sector, the unit of sizes in sysfs.
const SECTOR: u64 = 512;

/// A disk of this machine that is a device of a server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    /// Such as `rnbd0`.
    pub(crate) name: String,
    /// The device node.
    pub(crate) node: String,
    /// `open`, `closed` or `unmapped`; also `init` with the C driver.
    pub(crate) state: Option<String>,
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// `ro`, `rw` or `migration`.
    pub(crate) access_mode: Option<String>,
    /// Name of the session.
    pub(crate) session: Option<String>,
    /// Path of the device on the server.
    pub(crate) device_path: Option<String>,
    /// Number of queues for polled I/O.
    pub(crate) poll_queues: Option<u32>,
    /// What the block layer counted.
    pub(crate) io: Option<BlockIo>,
}

/// Counters of the block layer for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BlockIo {
    /// Completed reads.
    pub(crate) reads: u64,
    /// Bytes that they read.
    pub(crate) read_bytes: u64,
    /// Milliseconds that they took, added up.
    pub(crate) read_ms: u64,
    /// Completed writes.
    pub(crate) writes: u64,
    /// Bytes that they wrote.
    pub(crate) written_bytes: u64,
    /// Milliseconds that they took, added up.
    pub(crate) write_ms: u64,
    /// Requests in flight.
    pub(crate) in_flight: u64,
}

impl BlockIo {
    /// Reads the counters of a disk or a partition.
    pub(crate) fn read(system: &System, name: &str) -> Option<Self> {
        Self::parse(&system.value(&format!("/sys/class/block/{name}/stat"))?)
    }

    /// Parses `/sys/block/<disk>/stat` (Documentation/block/stat.rst of the kernel).
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let at = |index: usize| numbers.get(index).copied();

        Some(Self {
            reads: at(0)?,
            read_bytes: at(2)?.saturating_mul(SECTOR),
            read_ms: at(3)?,
            writes: at(4)?,
            written_bytes: at(6)?.saturating_mul(SECTOR),
            write_ms: at(7)?,
            in_flight: at(8)?,
        })
    }
}

/// Returns the mapped devices.
pub(crate) fn mapped(system: &System) -> Vec<Device> {
    let names = system.names("/sys/block");

    names
        .into_iter()
        .filter(|name| name.starts_with("rnbd"))
        .filter(|name| system.exists(&format!("/sys/block/{name}/rnbd")))
        .map(|name| read(system, name))
        .collect()
}

fn read(system: &System, name: String) -> Device {
    let value = |file: &str| system.value(&format!("/sys/block/{name}/{file}"));
    let number = |file: &str| value(file)?.parse::<u64>().ok();

    Device {
        node: format!("/dev/{name}"),
        state: value("rnbd/state"),
        size: number("size").map(|sectors| sectors.saturating_mul(SECTOR)),
        access_mode: value("rnbd/access_mode"),
        session: value("rnbd/session"),
        device_path: value("rnbd/mapping_path"),
        poll_queues: number("rnbd/nr_poll_queues").and_then(|number| number.try_into().ok()),
        io: value("stat").and_then(|text| BlockIo::parse(&text)),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_block_layer() {
        let text = "  5 0 16 7 3 1 8 9 2 11 16 0 0 0 0 0 0";
        let io = BlockIo::parse(text).expect("counters");

        assert_eq!((io.reads, io.read_bytes, io.read_ms), (5, 8192, 7));
        assert_eq!((io.writes, io.written_bytes, io.write_ms), (3, 4096, 9));
        assert_eq!(io.in_flight, 2);
        assert_eq!(BlockIo::parse("1 2 3"), None);
        assert_eq!(BlockIo::parse("1 2 x 4 5 6 7 8 9"), None);
    }
}
