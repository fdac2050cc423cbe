// SPDX-License-Identifier: GPL-2.0-only

//! Finds what the user names.

use std::path::Path as FilePath;

use crate::{
    failure::{
        Exit,
        Failure,
        Result, //
    },
    model::{
        self,
        Device,
        Path,
        Session,
        Side, //
    },
    rnbdtab,
    system::System, //
};

/// Fails unless the client module is loaded.
pub(super) fn need_client(system: &System) -> Result<()> {
    if system.exists("/sys/class/rnbd-client") {
        return Ok(());
    }
    Err(
        Failure::new(Exit::NoDriver, "the client driver is not loaded")
            .advise("load it with `modprobe rnbd_client`"),
    )
}

/// Fails unless the server module is loaded.
pub(super) fn need_server(system: &System) -> Result<()> {
    if system.exists("/sys/class/rnbd-server") {
        return Ok(());
    }
    Err(
        Failure::new(Exit::NoDriver, "the server driver is not loaded")
            .advise("load it with `modprobe rnbd_server`"),
    )
}

/// Finds a mapped device by its name, its node, a link to its node, its name in rnbdtab, or as
/// `<device path>@<session>`.
pub(super) fn device(system: &System, text: &str) -> Result<Device> {
    let mut devices = model::mapped(system);
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    let found = devices
        .iter()
        .position(|device| device.name == name)
        .or_else(|| devices.iter().position(|device| is_mapping(device, text)))
        .or_else(|| {
            let target = system.resolve(text).filter(|_| text.starts_with('/'))?;

            devices.iter().position(|device| device.name == target)
        })
        .or_else(|| {
            let table = rnbdtab::read(system).ok()?;
            let entry = table.find(text)?;
            let mapped = system.link(&link(&entry.device_path, &entry.session))?;

            devices.iter().position(|device| device.name == mapped)
        });

    match found {
        Some(index) => Ok(devices.swap_remove(index)),
        None => Err(not_mapped(system, text)),
    }
}

/// Returns whether rnbdtab has a device of this name.
pub(super) fn in_table(system: &System, name: &str) -> bool {
    rnbdtab::read(system).is_ok_and(|table| table.find(name).is_some())
}

/// Says why no mapped device has this name.
fn not_mapped(system: &System, text: &str) -> Failure {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let exports = model::exported(system).into_iter();
    let mut exports = exports.filter(|it| it.name == name || it.node == name);

    if exports.next().is_some() {
        return Failure::new(
            Exit::NotFound,
            format!("{name} is a device that this machine exports, not a mapped one"),
        )
        .advise("do this on the client; `rnbdctl latency` takes <device>@<session> here");
    }
    if in_table(system, text) {
        return Failure::new(
            Exit::NotFound,
            format!("{text} of {} is not mapped", rnbdtab::PATH),
        )
        .advise(format!("`rnbdctl attach {text}` maps it"));
    }
    need_client(system).err().unwrap_or_else(|| {
        Failure::new(Exit::NotFound, format!("no mapped device is named {text}"))
            .advise("`rnbdctl list` shows the mapped devices")
    })
}

fn is_mapping(device: &Device, text: &str) -> bool {
    // Names of sessions may contain an @.
    let (Some(path), Some(session)) = (&device.device_path, &device.session) else {
        return false;
    };

    text.strip_prefix(path.as_str())
        .and_then(|rest| rest.strip_prefix('@'))
        == Some(session)
}

/// Finds a session by its name, on one side or on any.
pub(super) fn session(system: &System, side: Option<Side>, name: &str) -> Result<Session> {
    let mut sessions = model::sessions(system).into_iter();
    let wanted =
        |session: &Session| session.name == name && side.is_none_or(|it| it == session.side);

    sessions.find(wanted).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no session {name}"))
            .advise("`rnbdctl sessions` shows the sessions")
    })
}

/// Finds a session of the client by its name. One that the server of this machine has is named
/// as such.
pub(super) fn client_session(system: &System, name: &str) -> Result<Session> {
    let found = session(system, Some(Side::Client), name);

    if found.is_ok() || session(system, Some(Side::Server), name).is_err() {
        need_client(system)?;
        return found;
    }
    Err(Failure::new(
        Exit::NotFound,
        format!("session {name} is one of the server on this machine"),
    )
    .advise("do this on the client; `rnbdctl path disconnect --server` disconnects a path here"))
}

/// Finds a path of a session by its name or its destination.
pub(super) fn path<'a>(session: &'a Session, text: &str) -> Result<&'a Path> {
    let exact = session.paths.iter().find(|path| path.name == text);
    let by_destination = || {
        let mut paths = session.paths.iter().filter(|path| {
            let destination = path.destination();

            destination == text || destination.strip_prefix("ip:") == Some(text)
        });

        paths.next().filter(|_| paths.next().is_none())
    };

    exact.or_else(by_destination).ok_or_else(|| {
        let name = &session.name;

        Failure::new(
            Exit::NotFound,
            format!("session {name} has no such path, or several: {text}"),
        )
        .advise(format!("`rnbdctl paths {name}` shows their names"))
    })
}

/// Returns the name of the link to a mapped device.
pub(super) fn link(device_path: &str, session: &str) -> String {
    let name = format!("{}@{session}", device_path.replace('/', "!"));

    FilePath::new("/sys/class/rnbd-client/ctl/devices")
        .join(name)
        .to_string_lossy()
        .into_owned()
}
