// SPDX-License-Identifier: GPL-2.0-only

//! The transport's server side: takes connections, hands requests to a
//! [`Service`] and sends its answers.
//!
//! A client makes a *session*, which has one or more *paths*; a path has one
//! connection for control and some for requests. What belongs to whom, and
//! what waits for what when it ends, is in
//! `Documentation/architecture-rtrs-server.md`.
//!
//! Whatever a peer sends, the worst that happens is that its own path closes.
//!
//! Completions of the connection for control are handled in process context, as setting
//! a path up sleeps, those of the others in softirq.
//!
//! Lock order: a session's `upper` lock, then the table of paths. The table's
//! lock is never held while something is destroyed that waits for handlers.

#![deny(unsafe_code)]

mod chunk;
mod conn;
mod dispatch_queue;
mod heartbeat;
mod info;
mod listen;
mod params;
mod path;
mod path_dir;
mod path_table;
mod recv;
mod request;
mod resend_order;
mod service;
mod session;
mod session_dir;
mod setup;
mod stats;
mod teardown;

pub use listen::Server;
pub(crate) use params::check as check_params;
pub use request::Request;
pub use service::Service;
pub use service::SessionService;
pub use session::SessionInfo;
