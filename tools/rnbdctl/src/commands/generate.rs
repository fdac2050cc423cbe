// SPDX-License-Identifier: GPL-2.0-only

//! Scripts for shells and man pages, made of the definition of the command line.

use std::path::Path;

use clap::CommandFactory;
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

    clap_complete::generate(shell, &mut Cli::command(), "rnbdctl", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Writes a man page for each command.
pub(super) fn man(directory: &Path) -> Result<String> {
    clap_mangen::generate_to(Cli::command(), directory).map_err(|e| {
        Failure::new(
            Exit::Failed,
            format!("cannot write man pages to {}: {e}", directory.display()),
        )
    })?;
    Ok(String::new())
}
