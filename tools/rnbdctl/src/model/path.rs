// SPDX-License-Identifier: GPL-2.0-only

//! Paths of sessions.

use serde::Serialize;

use crate::system::System;

use super::{
    stats::{
        self,
        Reconnects,
        Traffic, //
    },
    Side, //
};

/// A path of a session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Path {
    /// Which end this machine is.
    pub(crate) side: Side,
    /// Name of the session.
    pub(crate) session: String,
    /// `<source>@<destination>`; the source is the client on both sides.
    pub(crate) name: String,
    /// `connected` or `disconnected`; servers have connected paths only and no such file.
    pub(crate) state: Option<String>,
    /// Name of the RDMA device.
    pub(crate) hca_name: Option<String>,
    /// Port of the RDMA device.
    pub(crate) hca_port: Option<u32>,
    /// Address of the client.
    pub(crate) src_addr: Option<String>,
    /// Address of the server.
    pub(crate) dst_addr: Option<String>,
    /// Round-trip time of the last heartbeat in nanoseconds; clients only.
    pub(crate) latency_ns: Option<u64>,
    /// Traffic since the last reset.
    pub(crate) traffic: Option<Traffic>,
    /// Attempts to connect it again; clients only.
    pub(crate) reconnects: Option<Reconnects>,
    /// Responses that were polled for; clients only, and not with the C driver.
    pub(crate) polled: Option<u64>,
}

impl Path {
    /// Returns whether I/O can use the path.
    pub(crate) fn is_up(&self) -> bool {
        self.state
            .as_deref()
            .is_none_or(|state| state == "connected")
    }

    /// Returns the address of the server, as in the name of the path.
    pub(crate) fn destination(&self) -> &str {
        self.name.rsplit('@').next().unwrap_or_default()
    }

    /// Returns the directory of the path.
    pub(crate) fn directory(&self) -> String {
        directory(self.side, &self.session, &self.name)
    }
}

fn directory(side: Side, session: &str, name: &str) -> String {
    format!("{}/{session}/paths/{name}", side.directory())
}

/// Returns the paths of a session.
pub(super) fn paths(system: &System, side: Side, session: &str) -> Vec<Path> {
    let names = system.names(&format!("{}/{session}/paths", side.directory()));

    names
        .into_iter()
        .map(|name| read(system, side, session, name))
        .collect()
}

fn read(system: &System, side: Side, session: &str, name: String) -> Path {
    let directory = directory(side, session, &name);
    let value = |file: &str| system.value(&format!("{directory}/{file}"));

    Path {
        side,
        session: session.into(),
        state: value("state"),
        hca_name: value("hca_name"),
        hca_port: value("hca_port").and_then(|text| text.parse().ok()),
        src_addr: value("src_addr"),
        dst_addr: value("dst_addr"),
        latency_ns: value("cur_latency").and_then(|text| stats::latency_ns(&text)),
        traffic: value("stats/rdma").and_then(|text| Traffic::parse(&text)),
        reconnects: value("stats/reconnects").and_then(|text| Reconnects::parse(&text)),
        polled: value("stats/polled").and_then(|text| text.parse().ok()),
        name,
    }
}
