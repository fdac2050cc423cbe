// SPDX-License-Identifier: GPL-2.0-only

//! Sessions of the transport.

use serde::Serialize;

use crate::system::System;

use super::{
    device,
    export,
    path,
    stats,
    Path,
    Side, //
};

/// A session, on either side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Session {
    /// Which end this machine is.
    pub(crate) side: Side,
    /// Its name, which the client chooses.
    pub(crate) name: String,
    /// Names of its devices: mapped ones of a client, exported ones of a server.
    pub(crate) devices: Vec<String>,
    /// Name of the key that both sides have proven; none without one, as with the C driver.
    pub(crate) key: Option<String>,
    /// How paths are chosen; clients only.
    pub(crate) policy: Option<String>,
    /// Attempts to connect a lost path, -1 for no limit; clients only.
    pub(crate) max_reconnect_attempts: Option<i32>,
    /// Seconds that I/O waits for a path, -1 for no limit; clients only, and not with the C
    /// driver.
    pub(crate) fast_io_fail_tmo: Option<i64>,
    /// Bytes of memory that receive requests; servers only, and not with the C driver.
    pub(crate) pinned_memory: Option<u64>,
    /// Its paths.
    pub(crate) paths: Vec<Path>,
}

impl Session {
    /// Returns the number of paths that are connected.
    pub(crate) fn paths_up(&self) -> usize {
        self.paths.iter().filter(|path| path.is_up()).count()
    }
}

/// Returns the sessions of both sides.
pub(crate) fn sessions(system: &System) -> Vec<Session> {
    let mapped = device::mapped(system);
    let exports = export::exported(system);
    let mut sessions = Vec::new();

    for name in system.names(Side::Client.directory()) {
        let mut session = read(system, Side::Client, name);
        let own = mapped
            .iter()
            .filter(|device| device.session.as_ref() == Some(&session.name));

        session.devices = own.map(|device| device.name.clone()).collect();
        sessions.push(session);
    }
    for name in system.names(Side::Server.directory()) {
        let mut session = read(system, Side::Server, name);
        let own = exports
            .iter()
            .filter(|export| export.clients.iter().any(|it| it.session == session.name));

        session.devices = own.map(|export| export.name.clone()).collect();
        sessions.push(session);
    }
    sessions
}

fn read(system: &System, side: Side, name: String) -> Session {
    let directory = format!("{}/{name}", side.directory());
    let value = |file: &str| system.value(&format!("{directory}/{file}"));

    Session {
        side,
        devices: Vec::new(),
        key: value("key").filter(|name| name != "(none)"),
        policy: value("mpath_policy").map(|text| stats::policy(&text)),
        max_reconnect_attempts: value("max_reconnect_attempts").and_then(|text| text.parse().ok()),
        fast_io_fail_tmo: value("fast_io_fail_tmo").and_then(|text| match text.as_str() {
            "off" => Some(-1),
            seconds => seconds.parse().ok(),
        }),
        pinned_memory: value("pinned_memory").and_then(|text| text.parse().ok()),
        paths: path::paths(system, side, &name),
        name,
    }
}
