// SPDX-License-Identifier: GPL-2.0-only

//! Attaching and detaching the devices of rnbdtab.

use std::{
    process::{
        Command,
        Stdio, //
    },
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    cli::{
        Access,
        Attach,
        Detach, //
    },
    failure::{
        Exit,
        Failure,
        Result, //
    },
    rnbdtab::{
        self,
        Entry,
        Table, //
    },
    system::System,
    udev, //
};

use super::{
    map::{
        self,
        Request, //
    },
    tune,
    unmap, //
};

/// Exists while udev runs.
const UDEV_SOCKET: &str = "/run/udev/control";

impl Entry {
    fn request(&self) -> Request<'_> {
        Request {
            session: &self.session,
            device_path: &self.device_path,
            paths: &self.paths,
            port: self.options.port,
            access: Access {
                ro: self.options.ro,
                migration: self.options.migration,
            },
            key: self.options.key.as_deref(),
            polled: self.options.polled,
        }
    }
}

/// Returns the devices that the driver would not take as they are in the table, with the reason.
pub(super) fn refused<'a>(system: &System, table: &'a Table) -> Vec<(&'a Entry, String)> {
    let cpus = map::cpus(system);
    let entries = table.entries.iter();

    entries
        .filter_map(|entry| Some((entry, entry.request().line(cpus).err()?)))
        .collect()
}

/// Attaches devices, and prints the node of each. A device that is mapped stays as it is.
pub(super) fn attach(system: &System, options: &Attach) -> Result<String> {
    let (entries, wrong) = select(system, &options.names, options.all)?;

    each(&entries, wrong, |entry| {
        let request = entry.request();
        let name = match request.mapped(system) {
            Some(name) => name,
            None => request
                .map(system)
                .map_err(|failure| of_entry(failure, entry))?,
        };
        let node = format!("/dev/{name}");

        for (file, value) in &entry.options.settings {
            tune::set(system, &entry.session, file, value)?;
        }
        if let Some(seconds) = options.node.wait {
            let end = Instant::now() + Duration::from_secs(seconds);

            if has_link(system, entry) {
                wait_for_link(system, entry, &name, end)?;
            }
            map::wait_for_node(system, &node, end)?;
        }
        Ok(node + "\n")
    })
}

/// Returns whether udev makes a link for an entry: it runs, has the rules, and no other entry is
/// about the same device.
fn has_link(system: &System, entry: &Entry) -> bool {
    let table = rnbdtab::read(system).unwrap_or_default();
    let first = table.device(&entry.session, &entry.device_path);

    system.exists(UDEV_SOCKET)
        && udev::rules(system).is_some()
        && first.is_some_and(|first| first.name == entry.name)
}

/// Waits until udev has made the link of the name to a device. udev does not know of a name that
/// the table got after the device was mapped, until it is told to look again.
fn wait_for_link(system: &System, entry: &Entry, name: &str, end: Instant) -> Result<()> {
    let link = format!("/dev/disk/by-rnbd/{}", entry.name);
    let is_there = || system.resolve(&link).as_deref() == Some(name);

    if is_there() {
        return Ok(());
    }
    // If this fails, so does the wait below.
    let _ = system.write(&format!("/sys/block/{name}/uevent"), "change");
    map::wait_until(end, is_there, || {
        Failure::new(
            Exit::TryAgain,
            format!("{link} does not lead to /dev/{name} yet, though it is mapped"),
        )
        .advise("check udev, `systemctl status systemd-udevd`")
    })
}

/// Detaches devices. One that is not mapped is detached already.
pub(super) fn detach(system: &System, options: &Detach) -> Result<String> {
    let (mut entries, wrong) = select(system, &options.names, options.all)?;

    // Opposite to the order of attaching.
    entries.reverse();
    each(&entries, wrong, |entry| {
        if let Some(name) = entry.request().mapped(system) {
            unmap::unmap_one(system, &name, &options.openers)
                .map_err(|failure| of_entry(failure, entry))?;
        }
        stop_unit(system, &entry.name)?;
        Ok(String::new())
    })
}

/// Stops the unit of a device that is detached: systemd would not start one that is active. While
/// it is the unit that calls this program, it is not active but stopping.
fn stop_unit(system: &System, name: &str) -> Result<()> {
    let unit = format!("rnbd-attach@{name}.service");
    let systemctl = |arguments: &[&str]| {
        let mut command = Command::new(system.path("/usr/bin/systemctl"));

        command.args(arguments).arg(&unit).stdin(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };

    if !systemctl(&["--quiet", "is-active"]) || systemctl(&["stop"]) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failed,
        format!("{name}: the disk is detached, but {unit} stays active"),
    )
    .advise(format!(
        "`systemctl stop {unit}`, or starting it will do nothing"
    )))
}

/// Does something to each entry, and reports the first failure after the last one; `wrong` is
/// that of the table.
fn each(
    entries: &[Entry],
    wrong: Option<Failure>,
    mut act: impl FnMut(&Entry) -> Result<String>,
) -> Result<String> {
    let mut text = String::new();
    let mut first = None;

    for entry in entries {
        match act(entry) {
            Ok(line) => text += &line,
            Err(failure) => {
                first.get_or_insert(failure);
            }
        }
    }
    match first.or(wrong) {
        None => Ok(text),
        Some(failure) => Err(Failure {
            done: text,
            ..failure
        }),
    }
}

fn of_entry(mut failure: Failure, entry: &Entry) -> Failure {
    failure.message = format!("{}: {}", entry.name, failure.message);
    failure
}

/// Returns the entries of these names, or all entries that are attached at boot with what is
/// wrong with the other lines.
fn select(system: &System, names: &[String], all: bool) -> Result<(Vec<Entry>, Option<Failure>)> {
    let table = rnbdtab::read(system)?;

    if all {
        let failure = table.failure();
        let automatic = table.entries.into_iter();
        let automatic = automatic.filter(|entry| !entry.options.noauto);

        return Ok((automatic.collect(), failure));
    }
    let find = |name: &String| {
        table.find(name).cloned().ok_or_else(|| {
            // The device may be that of a wrong line.
            table.failure().unwrap_or_else(|| {
                Failure::new(
                    Exit::NotFound,
                    format!("{} has no device {name}", rnbdtab::PATH),
                )
                .advise("add a line: name session paths device options")
            })
        })
    };

    Ok((names.iter().map(find).collect::<Result<_>>()?, None))
}
