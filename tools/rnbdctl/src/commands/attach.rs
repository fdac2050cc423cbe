// SPDX-License-Identifier: GPL-2.0-only

//! Attaching and detaching the devices of rnbdtab.

use std::io;

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
        Entry, //
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
            polled: self.options.polled,
        }
    }
}

/// Attaches devices, and prints the node of each. A device that is mapped stays as it is.
pub(super) fn attach(system: &System, options: &Attach) -> Result<String> {
    let entries = select(system, &options.names, options.all)?;

    each(&entries, |entry| {
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
    let mut entries = select(system, &options.names, options.all)?;

    // Opposite to the order of attaching.
    entries.reverse();
    each(&entries, |entry| {
        if let Some(name) = entry.request().mapped(system) {
            unmap::unmap_one(system, &name, &options.openers)
                .map_err(|failure| of_entry(failure, entry))?;
        }
        Ok(String::new())
    })
}

/// Does something to each entry, and reports the first failure after the last one.
fn each(entries: &[Entry], mut act: impl FnMut(&Entry) -> Result<String>) -> Result<String> {
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
    match first {
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

/// Returns the entries of these names, or all entries that are attached at boot.
fn select(system: &System, names: &[String], all: bool) -> Result<Vec<Entry>> {
    let entries = read(system)?;

    if all {
        let automatic = entries.into_iter().filter(|entry| !entry.options.noauto);

        return Ok(automatic.collect());
    }
    let find = |name: &String| {
        entries
            .iter()
            .find(|entry| entry.name == *name)
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Exit::NotFound,
                    format!("{} has no device {name}", rnbdtab::PATH),
                )
                .advise("add a line: name session paths device options")
            })
    };

    names.iter().map(find).collect()
}

/// Reads the table, which need not exist.
pub(super) fn read(system: &System) -> Result<Vec<Entry>> {
    let text = match system.read(rnbdtab::PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => {
            let message = format!("cannot read {}: {e}", rnbdtab::PATH);

            return Err(Failure::new(Exit::Failed, message));
        }
        Ok(text) => text,
    };

    rnbdtab::parse(&text).map_err(|reason| {
        Failure::new(Exit::Usage, format!("{} {reason}", rnbdtab::PATH))
            .advise("correct the line; no line of the table counts until then")
    })
}
