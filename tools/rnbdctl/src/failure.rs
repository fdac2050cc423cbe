// SPDX-License-Identifier: GPL-2.0-only

//! Why a command failed, and what the user can do about it.

use std::{
    fmt,
    process::ExitCode, //
};

/// Exit codes of the program. Documentation/rnbdctl.md lists them; scripts and units rely on
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Any other reason.
    Failed = 1,
    /// A wrong command line or file; clap uses the same code.
    Usage = 2,
    /// The device, session or path does not exist.
    NotFound = 3,
    /// The same command may succeed later: the server cannot be reached, the device is busy.
    TryAgain = 4,
    /// The driver is not loaded, or does not have the file.
    NoDriver = 5,
    /// No permission, here or on the server.
    Denied = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed command. [`fmt::Display`] prints it for the user, with a newline.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What failed and why.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) advice: Option<String>,
    /// Lines of the kernel's log about it.
    pub(crate) kernel: Vec<String>,
    /// Output of the part of the command that succeeded.
    pub(crate) done: String,
}

impl Failure {
    /// Creates a failure without advice.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: None,
            kernel: Vec::new(),
            done: String::new(),
        }
    }

    /// Adds what to do next.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rnbdctl: {}", self.message)?;
        for line in &self.kernel {
            writeln!(f, "  kernel: {line}")?;
        }
        match &self.advice {
            Some(advice) => writeln!(f, "  next: {advice}"),
            None => Ok(()),
        }
    }
}

/// Result of a command or of a part of it.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
