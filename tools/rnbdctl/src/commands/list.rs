// SPDX-License-Identifier: GPL-2.0-only

//! Tables of devices, sessions, paths and exports.

use crate::{
    failure::{
        Exit,
        Failure,
        Result, //
    },
    model::{
        self,
        Device,
        Export,
        Path,
        Session,
        Side, //
    },
    output::{
        self,
        cell, //
    },
    system::System, //
};

use super::find;

/// Lists mapped and exported devices.
pub(super) fn list(system: &System, json: bool) -> Result<String> {
    let devices = model::mapped(system);
    let exports = model::exported(system);

    if json {
        return output::json([("devices", &devices), ("exports", &exports)]);
    }
    need_driver(system)?;
    let mapped = device_table(&devices, &model::sessions(system));
    let exported = export_table(&exports);
    let between = if mapped.is_empty() || exported.is_empty() {
        ""
    } else {
        "\n"
    };

    Ok(output::or_nothing(
        format!("{mapped}{between}{exported}"),
        "no disk is mapped, and no exported device is open",
    ))
}

/// Fails unless a driver is loaded. An empty list would look as if nothing was mapped.
pub(super) fn need_driver(system: &System) -> Result<()> {
    if system.exists("/sys/class/rnbd-client") || system.exists("/sys/class/rnbd-server") {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NoDriver,
        "neither the client nor the server driver is loaded",
    )
    .advise("load one with `modprobe rnbd_client` or `modprobe rnbd_server`"))
}

/// Lists sessions.
pub(super) fn sessions(system: &System, json: bool) -> Result<String> {
    let sessions = model::sessions(system);

    if json {
        return output::json([("sessions", &sessions)]);
    }
    need_driver(system)?;
    Ok(output::or_nothing(
        session_table(&sessions),
        "there is no session",
    ))
}

/// Lists paths, of one session or of all.
pub(super) fn paths(system: &System, session: Option<&str>, json: bool) -> Result<String> {
    let mut sessions = model::sessions(system);

    if let Some(name) = session {
        // On both sides, if it is on both.
        find::session(system, None, name)?;
        sessions.retain(|session| session.name == name);
    }
    let paths: Vec<Path> = sessions
        .into_iter()
        .flat_map(|session| session.paths)
        .collect();

    if json {
        return output::json([("paths", &paths)]);
    }
    need_driver(system)?;
    Ok(output::or_nothing(path_table(&paths), "there is no path"))
}

/// Lists exported devices.
pub(super) fn exports(system: &System, json: bool) -> Result<String> {
    let exports = model::exported(system);

    if json {
        return output::json([("exports", &exports)]);
    }
    find::need_server(system)?;
    Ok(output::or_nothing(
        export_table(&exports),
        "no client has a device open",
    ))
}

fn device_table(devices: &[Device], sessions: &[Session]) -> String {
    let rows = devices.iter().map(|device| {
        let session = sessions.iter().find(|session| {
            session.side == Side::Client && Some(&session.name) == device.session.as_ref()
        });
        let paths = session.map(|it| format!("{}/{}", it.paths_up(), it.paths.len()));

        [
            device.node.clone(),
            cell(device.size.map(output::bytes)),
            cell(device.state.clone()),
            cell(device.access_mode.clone()),
            cell(device.session.clone()),
            cell(device.device_path.clone()),
            cell(paths),
        ]
    });

    output::table(
        [
            "DEVICE",
            "SIZE",
            "STATE",
            "MODE",
            "SESSION",
            "ON SERVER",
            "PATHS UP",
        ],
        rows.collect(),
    )
}

fn export_table(exports: &[Export]) -> String {
    let rows = exports.iter().flat_map(|export| {
        export.clients.iter().map(|client| {
            [
                export.node.clone(),
                cell(export.size.map(output::bytes)),
                client.session.clone(),
                cell(client.access_mode.clone()),
                cell(client.device_path.clone()),
            ]
        })
    });

    output::table(
        ["EXPORTED", "SIZE", "SESSION", "MODE", "ASKED FOR AS"],
        rows.collect(),
    )
}

fn session_table(sessions: &[Session]) -> String {
    let rows = sessions.iter().map(|session| {
        [
            session.name.clone(),
            session.side.as_str().into(),
            format!("{}/{}", session.paths_up(), session.paths.len()),
            session.devices.len().to_string(),
            cell(session.policy.clone()),
            cell(session.max_reconnect_attempts.map(attempts)),
            cell(session.fast_io_fail_tmo.map(seconds)),
            cell(session.pinned_memory.map(output::bytes)),
        ]
    });

    output::table(
        [
            "SESSION",
            "SIDE",
            "PATHS UP",
            "DEVICES",
            "POLICY",
            "RECONNECTS",
            "I/O FAILS AFTER",
            "MEMORY",
        ],
        rows.collect(),
    )
}

/// Prints a limit of attempts.
pub(super) fn attempts(limit: i32) -> String {
    match limit {
        -1 => "unlimited".into(),
        limit => limit.to_string(),
    }
}

/// Prints a limit of seconds.
pub(super) fn seconds(limit: i64) -> String {
    match limit {
        -1 => "never".into(),
        limit => format!("{limit} s"),
    }
}

/// Prints a table of paths.
pub(super) fn path_table(paths: &[Path]) -> String {
    let rows = paths.iter().map(|path| {
        let traffic = path.traffic.as_ref();
        let device = path.hca_name.as_ref().map(|name| match path.hca_port {
            Some(port) => format!("{name}/{port}"),
            None => name.clone(),
        });

        [
            path.session.clone(),
            path.side.as_str().into(),
            path.name.clone(),
            path.state.clone().unwrap_or_else(|| "connected".into()),
            cell(device),
            cell(path.latency_ns.map(output::duration)),
            cell(traffic.map(|it| output::bytes(it.read_bytes))),
            cell(traffic.map(|it| output::bytes(it.written_bytes))),
            cell(traffic.and_then(|it| it.in_flight)),
        ]
    });

    output::table(
        [
            "SESSION",
            "SIDE",
            "PATH",
            "STATE",
            "RDMA",
            "LATENCY",
            "READ",
            "WRITTEN",
            "IN FLIGHT",
        ],
        rows.collect(),
    )
}
