// SPDX-License-Identifier: GPL-2.0-only

//! Access control of a session.
//!
//! Every path of a session reaches every device that the session has open. So a device is
//! opened only if the rules allow it to the peer of each path, and a path is added only if
//! the rules allow its peer each device that is open.
//!
//! Lock: `state`, taken after the lock under which a session opens devices, and held while
//! the rules are evaluated.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    auth::KeyName,
    wire::{
        name::SessName,
        rnbd::AccessMode, //
    }, //
};

use rtrs::kernel_ext::{
    log::LogPeer,
    net::SockAddr, //
};

use crate::{
    export_rules::{
        ExportRules,
        OpenError,
        OpenRequest, //
    },
    rule_target::RuleTarget, //
};

/// The peers of a session and the devices it was granted.
#[pin_data]
pub(crate) struct ExportAcl {
    /// The name of the session.
    name: CString,
    /// The name of the key that its client has proven.
    key: Option<KeyName>,
    rules: Arc<ExportRules>,
    /// That of the peer of the first path.
    log_key: AtomicU64,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// The peer of each path; a peer with several paths is listed several times.
    peers: KVec<SockAddr>,
    granted: KVec<Arc<Granted>>,
}

struct Granted {
    target: RuleTarget,
    mode: AccessMode,
}

/// The permission of a session to have a device open. Drop revokes it.
pub(crate) struct AccessGrant {
    acl: Arc<ExportAcl>,
    granted: Arc<Granted>,
}

impl ExportAcl {
    /// Creates the access control of a session without paths and devices.
    pub(crate) fn new(
        name: &CStr,
        key: Option<KeyName>,
        rules: Arc<ExportRules>,
    ) -> Result<Arc<Self>> {
        let name = CString::try_from(name)?;
        let state = State {
            peers: KVec::new(),
            granted: KVec::new(),
        };

        Arc::pin_init(
            pin_init!(Self {
                name,
                key,
                rules,
                log_key: AtomicU64::new(0),
                state <- new_mutex!(state, "rnbd_export_acl"),
            }),
            GFP_KERNEL,
        )
    }

    /// The name of the session.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// The name of the session as a protocol type.
    pub(crate) fn session(&self) -> Result<SessName<'_>> {
        SessName::new(self.name.to_bytes()).map_err(|_| EINVAL)
    }

    /// Adds a path from `peer`.
    ///
    /// # Errors
    ///
    /// `EACCES`, with a line in the log, if the rules deny `peer` a device that the session
    /// has open.
    pub(crate) fn add_peer(&self, peer: &SockAddr) -> Result {
        let session = self.session()?;
        let mut state = self.state.lock();

        // Rules match IP addresses only.
        peer.addr().ok_or(EAFNOSUPPORT)?;
        for Granted { target, mode } in state.granted.iter().map(|granted| &**granted) {
            let request = OpenRequest {
                session,
                key: self.key,
                peer: *peer,
                path: target.path(),
                mode: *mode,
            };

            self.rules
                .check(&request, target)
                .map_err(|error| match error {
                    OpenError::Failed(error) => error,
                    // The existence of the session is no secret.
                    OpenError::Denied(_) => EACCES,
                })?;
        }
        state.peers.push(*peer, GFP_KERNEL)?;
        // Later ones change nothing: messages do not tell by which path a request came.
        let _ = self
            .log_key
            .compare_exchange(0, peer.log_key(), Relaxed, Relaxed);
        Ok(())
    }

    /// Removes a path from `peer`.
    pub(crate) fn remove_peer(&self, peer: &SockAddr) {
        let mut state = self.state.lock();

        if let Some(index) = state.peers.iter().position(|other| other == peer) {
            // The index was just found.
            let _ = state.peers.remove(index);
        }
    }

    /// Fails if the rules deny the session every device.
    pub(crate) fn check_any(&self, path: &CStr, mode: AccessMode) -> Result<(), OpenError> {
        self.for_each_peer(&self.state.lock(), path.to_bytes(), mode, |request| {
            self.rules.check_any(request)
        })
    }

    /// Fails if the rules deny the session `target`.
    pub(crate) fn check(&self, target: &RuleTarget, mode: AccessMode) -> Result<(), OpenError> {
        self.check_for_all(&self.state.lock(), target, mode)
    }

    /// Grants the session access to `target`, if the rules allow it.
    pub(crate) fn grant(
        self: &Arc<Self>,
        target: RuleTarget,
        mode: AccessMode,
    ) -> Result<AccessGrant, OpenError> {
        let mut state = self.state.lock();

        self.check_for_all(&state, &target, mode)?;
        let granted = Arc::new(Granted { target, mode }, GFP_KERNEL)?;
        state.granted.push(granted.clone(), GFP_KERNEL)?;
        Ok(AccessGrant {
            acl: self.clone(),
            granted,
        })
    }

    fn check_for_all(
        &self,
        state: &State,
        target: &RuleTarget,
        mode: AccessMode,
    ) -> Result<(), OpenError> {
        self.for_each_peer(state, target.path(), mode, |request| {
            self.rules.check(request, target)
        })
    }

    fn for_each_peer(
        &self,
        state: &State,
        path: &[u8],
        mode: AccessMode,
        check: impl Fn(&OpenRequest<'_>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let session = self.session()?;

        // An OPEN arrives over a path.
        if state.peers.is_empty() {
            return Err(ENOTCONN.into());
        }
        for peer in &state.peers {
            check(&OpenRequest {
                session,
                key: self.key,
                peer: *peer,
                path,
                mode,
            })?;
        }
        Ok(())
    }
}

impl LogPeer for ExportAcl {
    fn log_key(&self) -> u64 {
        self.log_key.load(Relaxed).max(1)
    }
}

impl Drop for AccessGrant {
    fn drop(&mut self) {
        let mut state = self.acl.state.lock();

        state
            .granted
            .retain(|granted| !Arc::ptr_eq(granted, &self.granted));
    }
}
