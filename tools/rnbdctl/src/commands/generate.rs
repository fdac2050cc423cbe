// SPDX-License-Identifier: GPL-2.0-only

//! Scripts for shells and man pages. Those of commands are made of the definition of the
//! command line.

use std::{
    fs,
    path::Path, //
};

use clap::{
    Command,
    CommandFactory,
    ValueHint, //
};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    failure::{
        Exit,
        Failure,
        Result, //
    }, //
};

/// Prints a script that completes command lines.
pub(super) fn completion(shell: Shell) -> Result<String> {
    let mut script = Vec::new();

    clap_complete::generate(shell, &mut visible(), "rnbdctl", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Returns the command line without what its help hides. What is no file of this machine does
/// not complete as one.
fn visible() -> Command {
    let all = Cli::command();
    let commands = all.get_subcommands().filter(|it| !it.is_hide_set());
    let arguments = all.get_arguments().filter(|it| !it.is_hide_set());

    without_files(
        Command::new("rnbdctl")
            .version(env!("CARGO_PKG_VERSION"))
            .args(arguments.cloned())
            .subcommands(commands.cloned()),
    )
}

fn without_files(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let takes_value = argument.get_action().takes_values();
            let is_file = argument.get_id() == "file";

            if takes_value && !is_file && argument.get_value_hint() == ValueHint::Unknown {
                argument.value_hint(ValueHint::Other)
            } else {
                argument
            }
        })
        .mut_subcommands(without_files)
}

/// Man pages of files and units.
const PAGES: [(&str, &str); 4] = [
    ("rnbdtab.5", include_str!("../../../boot/man/rnbdtab.5")),
    (
        "rnbd-exports.5",
        include_str!("../../../boot/man/rnbd-exports.5"),
    ),
    (
        "rnbd-attach@.service.8",
        include_str!("../../../boot/man/rnbd-attach@.service.8"),
    ),
    (
        "rnbd-server.service.8",
        include_str!("../../../boot/man/rnbd-server.service.8"),
    ),
];

/// Writes a man page for each command, and those of files and units.
pub(super) fn man(directory: &Path) -> Result<String> {
    let written = clap_mangen::generate_to(Cli::command(), directory).and_then(|()| {
        PAGES
            .into_iter()
            .try_for_each(|(name, text)| fs::write(directory.join(name), text))
    });

    written.map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("cannot write man pages to {}: {e}", directory.display()),
        )
    })?;
    Ok(String::new())
}
