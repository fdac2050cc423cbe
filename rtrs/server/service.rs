// SPDX-License-Identifier: GPL-2.0-only

//! What the transport calls: the user of the server side.

use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::async_event::EventCount;

use super::request::Request;
use super::session::SessionInfo;
use crate::kernel_ext::net::SockAddr;

/// Who serves sessions.
pub trait Service: Send + Sync {
    /// The first path of a session comes up. Process context.
    ///
    /// An error closes the path; the client sees a reset connection.
    fn session_up(&self, session: SessionInfo) -> Result<Arc<dyn SessionService>>;
}

/// Who serves the requests of one session.
pub trait SessionService: Send + Sync {
    /// A path from `peer` comes up, be it the first one or another. Process
    /// context; of a session, one at a time.
    ///
    /// No request comes by it before. An error closes the path; the client sees
    /// a reset connection.
    fn path_up(&self, peer: &SockAddr) -> Result;

    /// A path from `peer`, for which `path_up` succeeded, is gone. Process
    /// context.
    ///
    /// All requests that came by it were completed.
    fn path_down(&self, peer: &SockAddr);

    /// A request arrived. Process context, may sleep; several at a time.
    ///
    /// It is answered when [`Request::complete`] is called, here or later in
    /// any context.
    fn request(&self, request: Request);

    /// A number that changes whenever there is news for the client, which heartbeats
    /// tell it; [`EventCount::NONE`] for a client that does not listen. Process context.
    ///
    /// Each path that is up asks at every heartbeat.
    fn async_event(&self) -> EventCount;

    /// The last path is gone. Process context.
    ///
    /// All requests were completed, none is being handed over or will come.
    fn session_down(&self);
}
