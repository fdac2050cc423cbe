// SPDX-License-Identifier: GPL-2.0-only

//! Devices that clients of this server have open.

use serde::Serialize;

use crate::system::System;

const DEVICES: &str = "/sys/class/rnbd-server/ctl/devices";

/// A device that clients have open.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Export {
    /// Its name in `/sys/class/block`.
    pub(crate) name: String,
    /// The device node.
    pub(crate) node: String,
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// The sessions that have it open.
    pub(crate) clients: Vec<ExportClient>,
}

/// A session that has a device open.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExportClient {
    /// Name of the session.
    pub(crate) session: String,
    /// `ro`, `rw` or `migration`.
    pub(crate) access_mode: Option<String>,
    /// Whether the client may only read.
    pub(crate) read_only: Option<bool>,
    /// The path in the client's request.
    pub(crate) device_path: Option<String>,
}

/// Returns the exported devices.
pub(crate) fn exported(system: &System) -> Vec<Export> {
    let names = system.names(DEVICES).into_iter();

    names.map(|name| read(system, name)).collect()
}

fn read(system: &System, name: String) -> Export {
    let sessions = format!("{DEVICES}/{name}/sessions");
    let sectors: Option<u64> = system.number(&format!("/sys/class/block/{name}/size"));
    let clients = system.names(&sessions).into_iter().map(|session| {
        let value = |file: &str| system.value(&format!("{sessions}/{session}/{file}"));

        ExportClient {
            access_mode: value("access_mode"),
            read_only: value("read_only").map(|text| text != "0"),
            device_path: value("mapping_path"),
            session,
        }
    });

    Export {
        // sysfs has a ! for a / in names of nodes.
        node: format!("/dev/{}", name.replace('!', "/")),
        size: sectors.map(|sectors| sectors.saturating_mul(512)),
        clients: clients.collect(),
        name,
    }
}
