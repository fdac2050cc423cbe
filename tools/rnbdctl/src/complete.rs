// SPDX-License-Identifier: GPL-2.0-only

//! Names of this machine that a shell completes: disks, sessions, paths, keys.

use std::{
    env,
    ffi::OsStr,
    path::Path, //
};

use clap::{
    Command,
    CommandFactory,
    ValueHint, //
};
use clap_complete::{
    engine::{
        ArgValueCandidates,
        CompletionCandidate, //
    },
    CompleteEnv, //
};

use crate::{
    cli::Cli,
    keys,
    model::{
        self,
        Side, //
    },
    rnbdtab,
    system::System, //
};

/// Environment variable in which a shell that wants completions has its name.
pub(crate) const VARIABLE: &str = "RNBDCTL_COMPLETE";

/// Prints completions and exits, if a shell asks for some.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(|| without_files(Cli::command()))
        .var(VARIABLE)
        .complete();
}

/// What is no file of this machine does not complete as one.
fn without_files(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let takes_value = argument.get_action().takes_values();
            let is_file = ["file", "root", "directory"].contains(&argument.get_id().as_str());

            if takes_value && !is_file && argument.get_value_hint() == ValueHint::Unknown {
                argument.value_hint(ValueHint::Other)
            } else {
                argument
            }
        })
        .mut_subcommands(without_files)
}

/// A candidate and what a shell may say about it.
type Candidate = (String, Option<String>);

/// Completes mapped disks, as `rnbd0` or by their names of the table.
pub(crate) fn devices() -> ArgValueCandidates {
    of_machine(mapped)
}

/// Completes sessions of the client.
pub(crate) fn client_sessions() -> ArgValueCandidates {
    of_machine(|system| sessions(system, Some(Side::Client)))
}

/// Completes sessions of both sides.
pub(crate) fn any_sessions() -> ArgValueCandidates {
    of_machine(|system| sessions(system, None))
}

/// Completes names of disks, sessions and exported devices.
pub(crate) fn names() -> ArgValueCandidates {
    of_machine(|system| {
        let exports = model::exported(system).into_iter();
        let exports = exports.map(|export| (export.name, Some("exported".into())));

        mapped(system)
            .into_iter()
            .chain(sessions(system, None))
            .chain(exports)
            .collect()
    })
}

/// Completes what `latency` takes: mapped disks, and exported devices with a session.
pub(crate) fn counted_devices() -> ArgValueCandidates {
    of_machine(|system| {
        let mut found = mapped(system);

        for export in model::exported(system) {
            let name = &export.name;
            let clients = export.clients.iter();

            found.extend(clients.map(|it| (format!("{name}@{}", it.session), None)));
        }
        found
    })
}

/// Completes paths of the session that the command line has, by their servers' addresses.
pub(crate) fn paths() -> ArgValueCandidates {
    of_machine(|system| {
        let words: Vec<String> = env::args().collect();
        let mut sessions = model::sessions(system);

        sessions.retain(|session| words.contains(&session.name));
        let paths = sessions.iter().flat_map(|session| &session.paths);

        paths
            .map(|path| {
                let destination = path.destination();
                let address = destination.strip_prefix("ip:").unwrap_or(destination);

                (address.into(), path.state.clone())
            })
            .collect()
    })
}

/// Completes policies of sessions.
pub(crate) fn policies() -> ArgValueCandidates {
    of_machine(|_| {
        let names = ["round-robin", "min-inflight", "min-latency"];

        names.map(|name| (name.to_owned(), None)).into()
    })
}

/// Completes names of the table.
pub(crate) fn table() -> ArgValueCandidates {
    of_machine(|system| {
        let entries = rnbdtab::read(system).unwrap_or_default().entries;
        let named = entries.into_iter().map(|it| {
            (
                it.name,
                Some(format!("{} of {}", it.device_path, it.session)),
            )
        });

        named.collect()
    })
}

/// Completes names of keys that have a file or that the kernel has.
pub(crate) fn key_names() -> ArgValueCandidates {
    of_machine(|system| {
        let names = keys::names(system, &keys::loaded(system)).into_iter();

        names.map(|name| (name, None)).collect()
    })
}

fn of_machine(
    list: impl Fn(&System) -> Vec<Candidate> + Send + Sync + 'static,
) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let found = list(&system()).into_iter();

        found
            .map(|(name, about)| CompletionCandidate::new(name).help(about.map(Into::into)))
            .collect()
    })
}

/// Returns the machine that the command line is about: tests have others than this one.
fn system() -> System {
    let mut words = env::args_os().skip_while(|word| word != OsStr::new("--root"));
    let root = words.nth(1).unwrap_or_else(|| "/".into());

    System::new(Path::new(&root))
}

fn mapped(system: &System) -> Vec<Candidate> {
    let table = rnbdtab::read(system).unwrap_or_default();
    let mut found = Vec::new();

    for device in model::mapped(system) {
        let (path, session) = (device.device_path, device.session);
        let (path, session) = (path.unwrap_or_default(), session.unwrap_or_default());
        let about = Some(format!("{path} of {session}"));

        if let Some(entry) = table.device(&session, &path) {
            found.push((entry.name.clone(), about.clone()));
        }
        found.push((device.name, about));
    }
    found
}

fn sessions(system: &System, side: Option<Side>) -> Vec<Candidate> {
    let sessions = model::sessions(system).into_iter();
    let sessions = sessions.filter(|it| side.is_none_or(|side| side == it.side));

    sessions
        .map(|it| {
            (
                it.name,
                Some(format!("session of the {}", it.side.as_str())),
            )
        })
        .collect()
}
