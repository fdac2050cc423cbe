// SPDX-License-Identifier: GPL-2.0-only

//! The client side of the transport.
//!
//! A [`Session`] has paths. A path that is up has a link: one connection for control, one
//! for each CPU, and those for polled I/O, all made at once. When a link is lost, requests in
//! flight go over other paths or wait, and the path is connected again.
//!
//! Ownership, locks and the order of teardown: `Documentation/architecture-rtrs-client.md`.

#![deny(unsafe_code)]

use kernel::prelude::*;

use crate::kernel_ext::class::Class;

mod auth;
mod conn;
mod connect;
mod control;
mod endpoints;
mod info;
mod io_request;
mod link;
mod link_state;
mod negotiated;
mod path;
mod path_set;
mod path_sysfs;
mod rdma_request;
mod reconnect;
mod recv;
mod remote_buf;
mod request_data;
mod request_table;
mod requeue_list;
mod response;
mod scoped_addr;
mod session;
mod session_params;
mod session_sysfs;
mod stats;
mod sysfs_dirs;

pub use crate::rdma::{
    payload::{
        Payload,
        PayloadBox, //
    },
    sg::SgTable, //
};

pub use io_request::{
    Direction,
    Permit,
    Queue, //
};
pub use session::{
    Events,
    Session, //
};
pub use session_params::SessionConfig;

/// The class of all sessions in sysfs. Must outlive them.
pub struct Client {
    class: Class,
}

impl Client {
    /// Registers `/sys/class/rtrs-client`.
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
