// SPDX-License-Identifier: GPL-2.0-only

//! Traits of the user of the server side, which the transport calls.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    async_event::EventCount,
    auth::KeyName,
    wire::name::SessName, //
};

use crate::kernel_ext::net::SockAddr;

use super::{
    request::Request,
    session::SessionInfo, //
};

/// A user of the server side.
pub trait Service: Send + Sync {
    /// Called with the address of a peer that asks for a connection, without a port, before
    /// anything is allocated for it. Process context.
    ///
    /// An error refuses the connection; the client sees it. The service logs the reason.
    fn admit_peer(&self, peer: &SockAddr) -> Result;

    /// Called when a client at `peer` has named its session, and has proven `key` or none, before
    /// memory is allocated for its requests. Process context.
    ///
    /// An error closes the path; the client sees a reset connection. The service logs the reason.
    fn admit_session(&self, peer: &SockAddr, name: SessName<'_>, key: Option<KeyName>) -> Result;

    /// Called when the first path of a session comes up. Process context.
    ///
    /// An error closes the path; the client sees a reset connection.
    fn session_up(&self, session: SessionInfo) -> Result<Arc<dyn SessionService>>;
}

/// The user of one session.
pub trait SessionService: Send + Sync {
    /// Called when a path from `peer` comes up, the first one included. Process context; calls for
    /// one session are serialized.
    ///
    /// No request comes by the path before. An error closes the path; the client sees a reset
    /// connection.
    fn path_up(&self, peer: &SockAddr) -> Result;

    /// Called when a path from `peer`, for which `path_up` succeeded, is gone. Process context.
    ///
    /// All requests that came by it were completed.
    fn path_down(&self, peer: &SockAddr);

    /// Executes a request. Process context, may sleep; several calls at a time.
    ///
    /// [`Request::complete`] sends the response, here or later in any context.
    fn request(&self, request: Request);

    /// Returns the number of asynchronous events, which heartbeats carry to the client;
    /// [`EventCount::NONE`] for a client that does not listen. Process context.
    ///
    /// Each path that is up calls it for every heartbeat.
    fn async_event(&self) -> EventCount;

    /// Called when the last path is gone. Process context.
    ///
    /// All requests were completed, and no request is being handed over or will arrive.
    fn session_down(&self);
}
