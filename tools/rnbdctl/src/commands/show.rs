// SPDX-License-Identifier: GPL-2.0-only

//! All about one device, session or export.

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
        Session, //
    },
    output,
    system::System, //
};

use super::{
    find,
    list, //
};

/// Shows everything that has this name.
pub(super) fn show(system: &System, name: &str, json: bool) -> Result<String> {
    let device = find::device(system, name);
    let mut sessions = model::sessions(system);
    let mut exports = model::exported(system);

    sessions.retain(|session| session.name == name);
    exports.retain(|export| export.name == name || export.node == name);
    let nothing_else = sessions.is_empty() && exports.is_empty();
    let devices: Vec<Device> = match device {
        Err(failure) if nothing_else && find::in_table(system, name) => return Err(failure),
        device => device.into_iter().collect(),
    };

    if devices.is_empty() && nothing_else {
        return Err(Failure::new(
            Exit::NotFound,
            format!("no device, session or exported device is named {name}"),
        )
        .advise("`rnbdctl list` and `rnbdctl sessions` show what there is"));
    }
    if json {
        return output::json([
            ("devices", &devices),
            ("sessions", &sessions),
            ("exports", &exports),
        ]);
    }
    let devices = devices.into_iter().map(show_device);
    let sessions = sessions.into_iter().map(show_session);
    let exports = exports.into_iter().map(show_export);
    let parts: Vec<String> = devices.chain(sessions).chain(exports).collect();

    Ok(parts.join("\n"))
}

fn show_device(device: Device) -> String {
    output::details(vec![
        ("device", Some(device.node)),
        ("state", device.state),
        ("size", device.size.map(output::bytes)),
        ("access mode", device.access_mode),
        ("session", device.session),
        ("on the server", device.device_path),
        (
            "poll queues",
            device.poll_queues.map(|number| number.to_string()),
        ),
        (
            "read",
            device
                .io
                .map(|io| format!("{} in {} requests", output::bytes(io.read_bytes), io.reads)),
        ),
        (
            "written",
            device.io.map(|io| {
                format!(
                    "{} in {} requests",
                    output::bytes(io.written_bytes),
                    io.writes
                )
            }),
        ),
        ("in flight", device.io.map(|io| io.in_flight.to_string())),
    ])
}

fn show_session(session: Session) -> String {
    let paths = list::path_table(&session.paths);

    output::details(vec![
        ("session", Some(session.name)),
        ("side", Some(session.side.as_str().into())),
        ("devices", Some(session.devices.join(" "))),
        ("key", Some(session.key.unwrap_or_else(|| "(none)".into()))),
        ("policy", session.policy),
        (
            "reconnects",
            session.max_reconnect_attempts.map(list::attempts),
        ),
        (
            "I/O fails after",
            session.fast_io_fail_tmo.map(list::seconds),
        ),
        ("pinned memory", session.pinned_memory.map(output::bytes)),
    ]) + &paths
}

fn show_export(export: Export) -> String {
    let mut rows = vec![
        ("exported", Some(export.node)),
        ("size", export.size.map(output::bytes)),
    ];

    for client in export.clients {
        rows.push((
            "client",
            Some(format!(
                "{} ({}) as {}",
                client.session,
                output::cell(client.access_mode),
                output::cell(client.device_path),
            )),
        ));
    }
    output::details(rows)
}
