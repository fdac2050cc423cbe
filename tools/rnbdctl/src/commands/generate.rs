// SPDX-License-Identifier: GPL-2.0-only

//! Scripts for shells and man pages. Those of commands are made of the definition of the
//! command line.

use std::{
    fs,
    path::Path, //
};

use clap::CommandFactory;
use clap_complete::{
    env::Shells,
    Shell, //
};

use crate::{
    cli::Cli,
    complete,
    failure::{
        Exit,
        Failure,
        Result, //
    }, //
};

/// Prints a script that has a shell ask this program to complete its command lines.
pub(super) fn completion(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = shells.completer(&shell.to_string()).map(|completer| {
        completer.write_registration(complete::VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
    });

    if !matches!(written, Some(Ok(()))) {
        let message = format!("cannot make a script for {shell}");

        return Err(Failure::new(Exit::Failed, message));
    }
    if shell == Shell::Zsh {
        script.extend_from_slice(AUTOLOADED.as_bytes());
    }
    Ok(String::from_utf8_lossy(&script).into_owned())
}

const PROGRAM: &str = "rnbdctl";

/// For a zsh that reads the script at the first completion, which the script is to answer, too.
const AUTOLOADED: &str = "\
if [ \"$funcstack[1]\" = \"_rnbdctl\" ]; then
    _clap_dynamic_completer_rnbdctl \"$@\"
fi
";

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
