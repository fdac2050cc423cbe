// SPDX-License-Identifier: GPL-2.0-only

//! The client side of the transport.
//!
//! A [`Session`] is made of paths. A path that is up has a link: one connection
//! for control and one for each CPU, made in one go. When a link is lost, what was
//! in flight goes by other paths or waits, and the path is connected again.
//!
//! Who owns what, who can still call it, and what waits for what:
//! `Documentation/architecture-rtrs-client.md`.

#![deny(unsafe_code)]

use crate::support::class::Class;
use kernel::prelude::*;

mod admin;
mod conn;
mod connect;
mod desk;
mod dispatch;
mod ends;
mod files;
mod link;
mod news;
mod order;
mod path;
mod path_tasks;
mod receive;
mod request;
mod retry;
mod session;
mod stats;

pub use order::Dir;
pub use order::Permit;
pub use order::Queue;
pub use session::Events;
pub use session::Session;
pub use session::SessionConfig;

pub use crate::rdma::io::Io;
pub use crate::rdma::io::IoBox;
pub use crate::rdma::sg::SgTable;

/// What all sessions have in common: their place in sysfs. Must outlive them.
pub struct Client {
    class: Class,
}

impl Client {
    /// Makes `/sys/class/rtrs-client`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            class: Class::new(c"rtrs-client")?,
        })
    }
}
