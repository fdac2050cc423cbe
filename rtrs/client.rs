// SPDX-License-Identifier: GPL-2.0-only

//! The client side of the transport.
//!
//! A [`session::Session`] is made of paths; in this version of exactly one. A
//! path has one connection for control and one for each CPU, and is connected
//! in one go, or not at all. When it is lost, everything in flight ends with an
//! error and the owner is told.
//!
//! Who owns what, who can still call it, and what waits for what:
//! `Documentation/architecture-rtrs-client.md`.

#![deny(unsafe_code)]

mod connect;
mod path;
mod receive;
mod request;
pub mod session;

pub use session::Dir;
pub use session::Events;
pub use session::Permit;
pub use session::Session;
pub use session::SessionConfig;

pub use crate::rdma::io::Io;
pub use crate::rdma::io::IoBox;
pub use crate::rdma::sg::SgTable;
