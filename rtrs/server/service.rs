// SPDX-License-Identifier: GPL-2.0-only

//! What the transport calls: the user of the server side.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::request::Request;
use super::session::SessionInfo;

/// Who serves sessions.
pub trait Service: Send + Sync {
    /// The first path of a session is up. Process context.
    ///
    /// An error closes the path; the client sees a reset connection.
    fn session_up(&self, session: SessionInfo) -> Result<Arc<dyn SessionService>>;
}

/// Who serves the requests of one session.
pub trait SessionService: Send + Sync {
    /// A request arrived. Process context, may sleep; several at a time.
    ///
    /// It is answered when [`Request::complete`] is called, here or later in
    /// any context.
    fn request(&self, request: Request);

    /// The last path is gone. Process context.
    ///
    /// All requests were completed, none is being handed over or will come.
    fn session_down(&self);
}
