// SPDX-License-Identifier: GPL-2.0-only

//! Authentication of a path: the client proves a key in INFO_REQ, the server in INFO_RSP.
//!
//! [`rnbd_proto::auth`] defines the proofs, `Documentation/authentication.md` describes their
//! use.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use rnbd_proto::{
    auth::{
        self,
        Hello,
        KeyName,
        Nonce,
        PendingProof,
        NONCE_SIZE, //
    },
    wire::rtrs::{
        ConnAccept,
        ConnReq,
        InfoAuth,
        AUTH_INFO_REQ_SIZE, //
    }, //
};

use crate::{
    kernel_ext::{
        hmac::HmacMac,
        keyring,
        log::Plain,
        random, //
    },
    pr_err_ratelimited, //
};

use super::path::Path;

/// The proof that a path owes its client.
#[pin_data]
pub(super) struct PathAuth {
    /// Set while chunks are registered, if the client has proven a key.
    #[pin]
    pending: Mutex<Option<PendingProof<HmacMac>>>,
}

impl PathAuth {
    /// Creates one without a proof.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pending <- new_mutex!(None, "rtrs_path_auth"),
        })
    }

    /// Returns the proof, which is given once.
    pub(super) fn take(&self) -> Option<PendingProof<HmacMac>> {
        self.pending.lock().take()
    }
}

/// Returns the accept of a connection of `req`: with a nonce, if the client asks for one.
pub(super) fn with_nonce(accept: ConnAccept, req: &ConnReq) -> ConnAccept {
    accept.with_nonce(req.auth().then(|| {
        let mut nonce = [0; NONCE_SIZE];
        random::fill(&mut nonce);
        Nonce(nonce)
    }))
}

/// Checks the client's proof in `info_req`, and returns the name of its key; `None` if it does
/// not ask for authentication. All connections must be there. Sleeps.
///
/// # Errors
///
/// `EKEYREJECTED`, with a line in the log, when the key is not proven. The client sees a closed
/// connection, whether the server has a key of this name or not.
pub(super) fn authenticate(path: &Path, info_req: &[u8]) -> Result<Option<KeyName>> {
    if !path.req().auth() {
        return Ok(None);
    }
    let info_req: &[u8; AUTH_INFO_REQ_SIZE] = info_req.try_into().map_err(|_| {
        pr_err_ratelimited!(path => "{path}: INFO_REQ without a proof\n");
        EKEYREJECTED
    })?;
    let name = InfoAuth::parse(info_req).map_err(|e| {
        pr_err_ratelimited!(path => "{path}: name of the key: {}\n", Plain(e));
        EKEYREJECTED
    })?;
    let name = name.key;
    let hellos = hellos(path)?;
    let found = keyring::find(&name);
    let (key, found) = match found {
        Ok(key) => (key, Ok(())),
        // A key that is missing is not refused sooner than a wrong one.
        Err(e) => (keyring::throwaway()?, Err(e)),
    };
    let proven = auth::verify(&key, hellos.iter(), info_req);
    if let Err(e) = found {
        pr_err_ratelimited!(path => "{path}: no valid key rnbd:{} in the keyring .rnbd of this machine: {e:?}; add the key of the client\n",
            Plain(name)
        );
        return Err(EKEYREJECTED);
    }
    let pending = proven.map_err(|_| {
        pr_err_ratelimited!(path => "{path}: the client has not proven key rnbd:{}: the keys of both machines differ, or another machine interferes\n",
            Plain(name)
        );
        EKEYREJECTED
    })?;
    *path.auth().pending.lock() = Some(pending);
    Ok(Some(name))
}

/// Returns what was said when the connections of `path` were made, in the order of their ids.
fn hellos(path: &Path) -> Result<KVVec<Hello>> {
    let links = path.links();
    let mut hellos = KVVec::with_capacity(links.count().into(), GFP_KERNEL)?;
    for id in 0..links.count() {
        let conn = links.context(id).ok_or(ENOTCONN)?;
        hellos.push(*conn.hello().ok_or(EPROTO)?, GFP_KERNEL)?;
    }
    Ok(hellos)
}
