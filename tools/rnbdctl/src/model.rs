// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows, as values. The fields are those of the JSON output, which only grows:
//! Documentation/rnbdctl.md describes them.

mod device;
mod export;
mod histogram;
mod path;
mod session;
mod stats;

pub(crate) use device::{
    mapped,
    BlockIo,
    Device, //
};
pub(crate) use export::{
    exported,
    Export, //
};
pub(crate) use histogram::{
    Bucket,
    Histogram,
    Histograms, //
};
pub(crate) use path::Path;
pub(crate) use session::{
    sessions,
    Session, //
};
pub(crate) use stats::Traffic;

use serde::Serialize;

/// Which end of a session this machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// It maps devices.
    Client,
    /// It exports them.
    Server,
}

impl Side {
    /// Returns the side as the output shows it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// Returns the directory of the sessions of the transport.
    pub(crate) const fn directory(self) -> &'static str {
        match self {
            Self::Client => "/sys/class/rtrs-client",
            Self::Server => "/sys/class/rtrs-server",
        }
    }
}
