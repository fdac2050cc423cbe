// SPDX-License-Identifier: GPL-2.0-only

//! Adding a mapped device to rnbdtab.

use crate::{
    cli::Save,
    explain::{
        self,
        Attempt, //
    },
    failure::{
        Exit,
        Failure,
        Result, //
    },
    model::{
        Device,
        Session,
        Side, //
    },
    rnbdtab::{
        self,
        Entry,
        Options,
        Table, //
    },
    system::System, //
};

use super::find;

/// Adds a line for a mapped device to the table, and prints it.
pub(super) fn save(system: &System, options: &Save) -> Result<String> {
    rnbdtab::check_name(&options.name).map_err(|reason| Failure::new(Exit::Usage, reason))?;
    let device = find::device(system, &options.device)?;
    let table = rnbdtab::read(system)?;
    let line = line(system, &device, options, &table)?;

    system.append(rnbdtab::PATH, &line).map_err(|e| {
        let what = format!("cannot add a line to {}", rnbdtab::PATH);

        explain::failure(Attempt::Write, &what, &e)
    })?;
    Ok(format!(
        "{line}# in {path} now; it is attached at each boot\n\
         # to undo: delete its line in {path}, then systemctl daemon-reload\n",
        path = rnbdtab::PATH
    ))
}

/// Returns the line of the device, whose name must be new to the table, as must be the device.
fn line(system: &System, device: &Device, options: &Save, table: &Table) -> Result<String> {
    let (Some(name), Some(device_path)) = (&device.session, &device.device_path) else {
        return Err(Failure::new(
            Exit::NoDriver,
            format!("the driver does not say what {} is", device.name),
        ));
    };
    let session = find::session(system, Some(Side::Client), name)?;
    let wrong = |message: String| Failure::new(Exit::Usage, message);
    let entry = Entry {
        name: options.name.clone(),
        session: name.clone(),
        paths: addresses(&session),
        device_path: device_path.clone(),
        options: Options {
            ro: device.access_mode.as_deref() == Some("ro"),
            migration: device.access_mode.as_deref() == Some("migration"),
            polled: device
                .poll_queues
                .and_then(|it| i32::try_from(it).ok())
                .filter(|it| *it > 0),
            port: options.port,
            key: session.key.clone(),
            settings: settings(system, &session),
            ..Options::default()
        },
    };

    if let Some(other) = table.device(&entry.session, &entry.device_path) {
        let message = format!(
            "{} is in {} already, as {}",
            device.name,
            rnbdtab::PATH,
            other.name
        );

        return Err(wrong(message));
    }
    if table.find(&entry.name).is_some() {
        let message = format!("{} has another device {}", rnbdtab::PATH, entry.name);

        return Err(wrong(message).advise("choose another name"));
    }
    entry.line().map_err(wrong)
}

/// Returns the addresses of the server. With several paths, that of the client says which way
/// each of them takes; with one, it may change.
fn addresses(session: &Session) -> Vec<String> {
    match session.paths.as_slice() {
        [path] => vec![path.destination().to_owned()],
        paths => paths.iter().map(|path| path.name.clone()).collect(),
    }
}

/// Returns the settings of the session that are not the defaults, which are parameters of the
/// module. The C driver has none.
fn settings(system: &System, session: &Session) -> Vec<(&'static str, String)> {
    let values = [
        ("mpath_policy", "mp_policy", session.policy.clone()),
        (
            "fast_io_fail_tmo",
            "fast_io_fail_tmo",
            session.fast_io_fail_tmo.map(|seconds| match seconds {
                -1 => "off".into(),
                seconds => seconds.to_string(),
            }),
        ),
        (
            "max_reconnect_attempts",
            "max_reconnect_attempts",
            session.max_reconnect_attempts.map(|it| it.to_string()),
        ),
    ];

    values
        .into_iter()
        .filter_map(|(file, parameter, value)| {
            let value = value?;
            let default =
                system.value(&format!("/sys/module/rnbd_client/parameters/{parameter}"))?;

            (value != default).then_some((file, value))
        })
        .collect()
}
