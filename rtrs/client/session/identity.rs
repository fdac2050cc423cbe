// SPDX-License-Identifier: GPL-2.0-only

//! Comparing a session with what a user writes of it.

use kernel::prelude::*;

use rnbd_proto::{
    session_identity::{
        Conflict,
        PathEnds, //
    },
    text::path_addr::PathAddr, //
};

use crate::kernel_ext::net::SockAddr;

use super::Session;

impl Session {
    /// Compares the paths and the port that a user writes with those of this session, and
    /// returns what is in conflict; see [`check`](rnbd_proto::session_identity::check).
    ///
    /// # Errors
    ///
    /// `EINVAL` when an address has the scope of an interface that does not exist; `ENOMEM`.
    pub fn conflict<'a>(
        &self,
        given: impl Iterator<Item = PathAddr<'a>>,
        port: Option<u16>,
    ) -> Result<Option<Conflict>> {
        let mut ends = KVec::new();
        for addr in given {
            ends.push(resolve(&addr)?, GFP_KERNEL)?;
        }
        let checked = self.paths.check_identity(&ends, port, self.params.port());
        Ok(checked.err())
    }
}

fn resolve(addr: &PathAddr<'_>) -> Result<PathEnds> {
    let end = |addr| SockAddr::new(addr, 0)?.path_end().ok_or(EINVAL);
    Ok(PathEnds {
        src: addr.src.as_ref().map(end).transpose()?,
        dst: end(&addr.dst)?,
    })
}
