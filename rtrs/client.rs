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

use crate::kernel_ext::class::Class;
use kernel::prelude::*;

mod async_event;
mod conn;
mod connect;
mod dispatch;
mod endpoints;
mod io_request;
mod link;
mod path;
mod path_set;
mod path_work;
mod rdma_request;
mod reconnect;
mod recv;
mod requeue_list;
mod session;
mod stats;
mod sysfs;

pub use io_request::Direction;
pub use io_request::Permit;
pub use io_request::Queue;
pub use session::Events;
pub use session::Session;
pub use session::SessionConfig;

pub use crate::rdma::payload::Payload;
pub use crate::rdma::payload::PayloadBox;
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
