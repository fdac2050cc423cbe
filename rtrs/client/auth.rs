// SPDX-License-Identifier: GPL-2.0-only

//! Authentication of a link: the client proves its key in INFO_REQ, the server in INFO_RSP.
//!
//! [`rnbd_proto::auth`] defines the proofs, `Documentation/authentication.md` describes their
//! use.

use kernel::prelude::*;

use rnbd_proto::{
    auth::{
        self,
        Disagreement,
        ExpectedProof,
        Hello,
        KeyName,
        Nonce,
        NONCE_SIZE, //
    },
    wire::{
        name::SessName,
        rtrs::{
            ConnAccept,
            InfoAuth,
            InfoReq,
            AUTH_INFO_REQ_SIZE, //
        }, //
    }, //
};

use crate::kernel_ext::{
    hmac::{
        HmacKey,
        HmacMac, //
    },
    keyring,
    log::Plain,
    net::SockAddr,
    random, //
};

/// The key of a link, and what was said when its connections were made.
pub(super) struct LinkAuth {
    name: KeyName,
    key: HmacKey,
    hellos: KVVec<Hello>,
}

/// INFO_REQ with the client's proof, and what the server must prove.
pub(super) struct Proof {
    pub(super) info_req: [u8; AUTH_INFO_REQ_SIZE],
    pub(super) expected: ExpectedProof<HmacMac>,
}

impl LinkAuth {
    /// Looks key `name` up, for a link to `dst` of `session`. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`keyring::find`], with a line in the log.
    pub(super) fn new(name: &KeyName, session: SessName<'_>, dst: &SockAddr) -> Result<Self> {
        let key = keyring::find(name).inspect_err(|e| {
            pr_err!(
                "{}: {dst}: no valid key rnbd:{} in the keyring .rnbd: {e:?}; add it, or map without key=\n",
                Plain(session),
                Plain(name)
            );
        })?;
        Ok(Self {
            name: *name,
            key,
            hellos: KVVec::new(),
        })
    }

    /// Adds the private data of the next connection, in the order of their ids.
    pub(super) fn add(&mut self, request: &[u8], accept: &[u8]) -> Result {
        let hello = Hello::new(request, accept).ok_or(EPROTO)?;
        self.hellos.push(hello, GFP_KERNEL)?;
        Ok(())
    }

    /// Returns the proof for a session called `name`, after all connections were made.
    pub(super) fn prove(self, name: SessName<'_>) -> Result<Proof> {
        let mut nonce = [0; NONCE_SIZE];
        random::fill(&mut nonce);
        let auth = InfoAuth {
            key: self.name,
            nonce: Nonce(nonce),
        };
        let mut info_req = InfoReq { name }.encode_auth(&auth).map_err(|_| EINVAL)?;
        let expected = auth::prove(&self.key, self.hellos.iter(), &mut info_req);
        Ok(Proof {
            info_req,
            expected: expected.map_err(|_| EINVAL)?,
        })
    }
}

/// Checks that the server at `dst` agrees to authentication, if `asked`, and only then.
///
/// # Errors
///
/// `EOPNOTSUPP` or `EPROTO`, with a line in the log.
pub(super) fn agree(asked: bool, accept: &ConnAccept, dst: &SockAddr) -> Result {
    auth::agree(asked, accept.nonce()).map_err(|disagreement| match disagreement {
        Disagreement::Refused => {
            pr_err!("{dst}: the server does not know authentication, or another machine interferes; map without key= only if the network is safe\n");
            EOPNOTSUPP
        }
        Disagreement::NotAsked => {
            pr_err!("{dst}: the server's response was refused: authentication that was not asked for\n");
            EPROTO
        }
    })
}
