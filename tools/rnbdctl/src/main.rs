// SPDX-License-Identifier: GPL-2.0-only

//! Shows and manages RNBD devices, sessions and exports.
//!
//! The program reads and writes sysfs, and debugfs for latency. It works with the C drivers as
//! far as they have the files.
//!
//! - [`cli`]: the command line.
//! - [`system`]: access to files below a root, which tests point elsewhere.
//! - [`model`]: what sysfs shows, as values; these are also the JSON output.
//! - [`rdma`], [`mtu`]: RDMA ports, and whether long packets arrive at another machine.
//! - [`rates`]: what two samples of counters differ by.
//! - [`commands`]: what each command does.
//! - [`complete`]: names that a shell completes.
//! - [`rnbdtab`], [`exports`]: files that administrators write.
//! - [`signing`]: whether the kernel trusts the modules' signatures.
//! - [`udev`]: properties of devices, for links.
//! - [`output`]: tables, units, JSON.
//! - [`explain`], [`failure`], [`kmsg`]: from an error number to a sentence.

mod cli;
mod commands;
mod complete;
mod explain;
mod exports;
mod failure;
mod keys;
mod kmsg;
mod model;
mod mtu;
mod output;
mod rates;
mod rdma;
mod rnbdtab;
mod signing;
mod system;
mod udev;

use std::{
    io::{
        self,
        Write, //
    },
    process::ExitCode, //
};

use clap::Parser;

fn main() -> ExitCode {
    complete::answer_shell();
    let cli = cli::Cli::parse();
    let system = system::System::new(&cli.root);

    match commands::run(&system, &cli) {
        Ok(text) => print(&text),
        Err(failure) => {
            // Nobody is left to tell if this fails.
            let _ = write!(io::stderr(), "{failure}");
            // What was done before the failure.
            let _ = io::stdout().write_all(failure.done.as_bytes());
            failure.exit.into()
        }
    }
}

/// Prints the output of a command. A reader that goes away early, such as `head`, is no error.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();

    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "rnbdctl: cannot write the output: {e}");
            failure::Exit::Failed.into()
        }
        _ => ExitCode::SUCCESS,
    }
}
