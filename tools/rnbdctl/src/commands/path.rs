// SPDX-License-Identifier: GPL-2.0-only

//! Adding, removing, connecting and disconnecting paths.

use crate::{
    cli::{
        OnePath,
        PathAction, //
    },
    explain::{
        self,
        Attempt, //
    },
    failure::{
        Exit,
        Failure,
        Result, //
    },
    kmsg::Mark,
    model::Side,
    system::System, //
};

use super::{
    find,
    map, //
};

/// Changes a path.
pub(super) fn path(system: &System, action: &PathAction) -> Result<String> {
    match action {
        PathAction::Add { session, path } => {
            find::client_session(system, session)?;
            let full = map::full_path(path).map_err(|reason| Failure::new(Exit::Usage, reason))?;
            let file = format!("{}/{session}/add_path", Side::Client.directory());
            let what = format!("cannot add {full} to session {session}");

            write(system, &file, &full, Attempt::Connect, &what)
        }
        PathAction::Remove { path, force } => {
            find::need_client(system)?;
            let session = find::session(system, Some(Side::Client), &path.session)?;

            if let ([_], [device, ..], false) =
                (session.paths.as_slice(), session.devices.as_slice(), *force)
            {
                return Err(Failure::new(
                    Exit::TryAgain,
                    format!(
                        "this is the last path of session {}, which has {device} mapped",
                        session.name
                    ),
                )
                .advise("add another path, or unmap first, or use --force: then its I/O fails"));
            }
            one(system, Side::Client, path, "remove_path", "remove")
        }
        PathAction::Connect(path) => of_client(system, path, "reconnect", "connect"),
        PathAction::Disconnect {
            path,
            server: false,
        } => of_client(system, path, "disconnect", "disconnect"),
        PathAction::Disconnect { path, server: true } => {
            find::need_server(system)?;
            one(system, Side::Server, path, "disconnect", "disconnect")
        }
    }
}

fn of_client(system: &System, path: &OnePath, file: &str, verb: &str) -> Result<String> {
    find::client_session(system, &path.session)?;
    one(system, Side::Client, path, file, verb)
}

/// Writes to a file of a path.
fn one(system: &System, side: Side, path: &OnePath, file: &str, verb: &str) -> Result<String> {
    let session = find::session(system, Some(side), &path.session)?;
    let found = find::path(&session, &path.path)?;
    let what = format!(
        "cannot {verb} path {} of session {}",
        found.name, session.name
    );
    let attempt = if file == "reconnect" {
        Attempt::Connect
    } else {
        Attempt::Write
    };

    write(
        system,
        &format!("{}/{file}", found.directory()),
        "1",
        attempt,
        &what,
    )
}

/// Writes to a file, and explains an error.
pub(super) fn write(
    system: &System,
    file: &str,
    text: &str,
    attempt: Attempt,
    what: &str,
) -> Result<String> {
    let log = Mark::now(system);

    match system.write(file, text) {
        Ok(()) => Ok(String::new()),
        Err(e) => {
            // What the driver or the server refuse is not what the file system refuses.
            let attempt = match system.may_write(file) {
                true => attempt,
                false => Attempt::Write,
            };
            let mut failure = explain::failure_here(system, attempt, what, &e);

            failure.kernel = log.lines();
            Err(failure)
        }
    }
}
