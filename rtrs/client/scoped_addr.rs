// SPDX-License-Identifier: GPL-2.0-only

//! One end of a path, as a user gives it.

use kernel::prelude::*;

use rnbd_proto::text::path_addr::{
    Addr,
    MAX_SCOPE, //
};

use crate::kernel_ext::net::SockAddr;

/// An address, and the scope that it was given with.
#[derive(Clone, Copy)]
pub(super) struct ScopedAddr {
    addr: SockAddr,
    scope: Option<Scope>,
}

/// The scope of an IPv6 address: name or number of a network interface.
#[derive(Clone, Copy)]
struct Scope {
    text: [u8; MAX_SCOPE],
    len: usize,
}

impl ScopedAddr {
    /// Converts an address of a user.
    ///
    /// # Errors
    ///
    /// `EINVAL` when its scope is not a network interface.
    pub(super) fn new(addr: &Addr<'_>, port: u16) -> Result<Self> {
        let scope = match addr {
            Addr::V6 {
                scope: Some(scope), ..
            } => {
                let mut text = [0; MAX_SCOPE];
                let len = scope.len();
                text.get_mut(..len)
                    .ok_or(EINVAL)?
                    .copy_from_slice(scope.as_bytes());
                Some(Scope { text, len })
            }
            _ => None,
        };
        Ok(Self {
            addr: SockAddr::new(addr, port)?,
            scope,
        })
    }

    /// Returns the address, with the number that its scope had at first.
    pub(super) fn addr(&self) -> &SockAddr {
        &self.addr
    }

    /// Returns the address with the present number of its scope: an interface that was deleted
    /// and added again has a new one.
    ///
    /// # Errors
    ///
    /// `ENODEV` when there is no such interface now.
    pub(super) fn resolve(&self) -> Result<SockAddr> {
        let (Some(scope), Some(Addr::V6 { addr, .. })) = (&self.scope, self.addr.addr()) else {
            return Ok(self.addr);
        };
        let text = scope.text.get(..scope.len).ok_or(EINVAL)?;
        let scope = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        let addr = Addr::V6 {
            addr,
            scope: Some(scope),
        };
        SockAddr::new(&addr, self.addr.port()).map_err(|e| if e == EINVAL { ENODEV } else { e })
    }
}
