// SPDX-License-Identifier: GPL-2.0-only

//! Server side of the transport: accepts connections, hands requests to a [`Service`] and sends
//! its responses.
//!
//! A client creates a *session* with one or more *paths*. A path has one control connection and
//! one or more connections for requests. `Documentation/architecture-rtrs-server.md` lists the
//! objects, their owners, and the steps of a teardown.
//!
//! A message from a peer can at worst close the path of that peer.
//!
//! Completions of the control connection run in process context, as path set-up sleeps; those of
//! the other connections run in softirq.
//!
//! Lock order: `Session::upper`, then the table of paths. No code destroys an object that waits
//! for handlers while it holds the lock of the table.

#![deny(unsafe_code)]

mod auth;
mod chunk;
mod chunk_completion;
mod config;
mod dispatch_queue;
mod eager_buf;
mod early_requests;
mod heartbeat;
mod io;
mod listen;
mod params;
mod path;
mod path_table;
mod receive;
mod registry;
mod request;
mod resend_order;
mod service;
mod session;
mod setup;
mod sysfs;
mod teardown;

pub use listen::Server;
pub use request::Request;
pub use service::{
    Service,
    SessionService, //
};
pub use session::SessionInfo;

pub(crate) use params::check as check_params;
