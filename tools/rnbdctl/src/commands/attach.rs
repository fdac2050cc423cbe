// SPDX-License-Identifier: GPL-2.0-only

//! Attaching and detaching the devices of rnbdtab.

use std::{
    io,
    process::{
        Command,
        Stdio, //
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
    system::System, //
};

use super::{
    map::{
        self,
        Request, //
    },
    tune,
    unmap, //
};

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
            map::wait_for_node(system, &node, seconds)?;
        }
        Ok(node + "\n")
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
    let table = read(system)?;

    if all {
        let failure = failure(&table);
        let automatic = table.entries.into_iter();
        let automatic = automatic.filter(|entry| !entry.options.noauto);

        return Ok((automatic.collect(), failure));
    }
    let find = |name: &String| {
        table.find(name).cloned().ok_or_else(|| {
            // The device may be that of a wrong line.
            failure(&table).unwrap_or_else(|| {
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

/// Reads the table, which need not exist.
pub(super) fn read(system: &System) -> Result<Table> {
    match system.read(rnbdtab::PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(e) => {
            let message = format!("cannot read {}: {e}", rnbdtab::PATH);

            Err(Failure::new(Exit::Failed, message))
        }
        Ok(text) => Ok(rnbdtab::parse(&text)),
    }
}

/// Returns what is wrong with the table.
pub(super) fn failure(table: &Table) -> Option<Failure> {
    if table.wrong.is_empty() {
        return None;
    }
    let message = format!("{} {}", rnbdtab::PATH, table.wrong.join("; "));

    Some(
        Failure::new(Exit::Usage, message).advise("correct it; the line does not count until then"),
    )
}
