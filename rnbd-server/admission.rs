// SPDX-License-Identifier: GPL-2.0-only

//! What the export rules decide before a client asks for a device: who may connect, and who may
//! have which name of a session.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::{
    auth::KeyName,
    export_rules::{
        ClientIdentity,
        Permission,
        Rules, //
    },
    wire::name::SessName, //
};

use rtrs::kernel_ext::{
    log::Plain,
    net::SockAddr, //
};

use crate::export_rules::ExportRules;

impl ExportRules {
    /// Fails if a client at `peer` could open no device, whatever the name of its session.
    ///
    /// # Errors
    ///
    /// `EACCES`, with a line in the log; `EAFNOSUPPORT` for an address that no rule can be about.
    pub(crate) fn admit_peer(&self, peer: &SockAddr) -> Result {
        let addr = peer.addr().ok_or(EAFNOSUPPORT)?;
        let (admitted, why) = match self.list() {
            None => (
                self.default_permission() != Permission::Denied,
                "by export_default",
            ),
            Some(list) => (
                Rules::new(&list).admits(addr.into()),
                "as no rule allows it anything",
            ),
        };

        if admitted {
            return Ok(());
        }
        rtrs::pr_err_ratelimited!(peer => "connection from {} refused {}: {:?}\n", peer, why, EACCES);
        Err(EACCES)
    }

    /// Fails if the rules reserve the name of a session for other addresses than `peer`, or for other
    /// keys than `key`.
    ///
    /// # Errors
    ///
    /// `EACCES`, with a line in the log; `EAFNOSUPPORT` for an address that no rule can be about.
    pub(crate) fn admit_session(
        &self,
        peer: &SockAddr,
        name: SessName<'_>,
        key: Option<KeyName>,
    ) -> Result {
        let Some(list) = self.list() else {
            return Ok(());
        };
        let client = ClientIdentity {
            session: name,
            peer: peer.addr().ok_or(EAFNOSUPPORT)?.into(),
            key,
        };

        Rules::new(&list).check_name(&client).map_err(|by| {
            rtrs::pr_err_ratelimited!(peer =>
                "{}: the name of this session is refused to {} {}: {:?}\n",
                Plain(name),
                peer,
                Plain(by),
                EACCES
            );
            EACCES
        })
    }
}
