// SPDX-License-Identifier: GPL-2.0-only

//! What a device takes up in its session, from when it begins to be mapped until nothing
//! of it is left.

#![deny(unsafe_code)]

use crate::block_session::BlockSession;
use crate::session_registry::SessionRegistry;
use crate::session_registry::SessionUser;
use kernel::prelude::*;
use kernel::sync::Arc;

/// A place in a session: the session stays connected, and no other device of the same
/// path is mapped by it.
///
/// Drop takes the lock of the session, and closes that if it was the last one.
pub(crate) struct ClaimedName {
    path: KVec<u8>,
    /// Given up after that, so that the name of the session is taken until it is closed.
    user: SessionUser,
}

impl ClaimedName {
    /// To be made by the session only, which has noted that `path` is taken.
    pub(crate) fn new(path: KVec<u8>, user: SessionUser) -> Self {
        Self { path, user }
    }

    /// The session.
    pub(crate) fn session(&self) -> &Arc<BlockSession> {
        self.user.session()
    }

    /// Where the session is known.
    pub(crate) fn registry(&self) -> &Arc<SessionRegistry> {
        self.user.registry()
    }
}

impl Drop for ClaimedName {
    fn drop(&mut self) {
        self.user.session().leave(&self.path);
    }
}
