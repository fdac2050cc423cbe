// SPDX-License-Identifier: GPL-2.0-only

//! What a session may open, seen from all the places that it comes from.
//!
//! Whoever has a path into a session can use all that the session has open. So a
//! device is opened only if the rules allow it to each peer that has a path, and a path
//! is added only if they allow its peer each device that is open.
//!
//! Lock: `state`, taken after the locks of [`Devices`](crate::devices::Devices) and held
//! while paths and rules are looked at.

#![deny(unsafe_code)]

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rnbd::AccessMode;
use rtrs::kernel_ext::net::SockAddr;

use crate::export_rules::ExportRules;
use crate::export_rules::OpenError;
use crate::export_rules::OpenRequest;
use crate::rule_target::RuleTarget;

/// Lets devices and paths into a session.
#[pin_data]
pub(crate) struct ExportAcl {
    /// Name of the session.
    name: CString,
    rules: Arc<ExportRules>,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// Of each path, so one may be there more than once.
    peers: KVec<SockAddr>,
    admitted: KVec<Arc<Admitted>>,
}

struct Admitted {
    subject: RuleTarget,
    mode: AccessMode,
}

/// The permission to have a device open, to be kept as long as it is.
pub(crate) struct AccessGrant {
    gate: Arc<ExportAcl>,
    admitted: Arc<Admitted>,
}

impl ExportAcl {
    /// Nothing is in yet.
    pub(crate) fn new(name: &CStr, rules: Arc<ExportRules>) -> Result<Arc<Self>> {
        let name = CString::try_from(name)?;
        let state = State {
            peers: KVec::new(),
            admitted: KVec::new(),
        };

        Arc::pin_init(
            pin_init!(Self {
                name,
                rules,
                state <- new_mutex!(state, "rnbd_gate"),
            }),
            GFP_KERNEL,
        )
    }

    /// Name of the session.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Name of the session, as the protocol has it.
    pub(crate) fn session(&self) -> Result<SessName<'_>> {
        SessName::new(self.name.to_bytes()).map_err(|_| EINVAL)
    }

    /// A path from `peer` comes up.
    ///
    /// # Errors
    ///
    /// `EACCES`, with a line in the log, if the session has something open that is not
    /// for `peer`.
    pub(crate) fn enter(&self, peer: &SockAddr) -> Result {
        let session = self.session()?;
        let mut state = self.state.lock();

        // No rule could speak of it.
        peer.addr().ok_or(EAFNOSUPPORT)?;
        for Admitted { subject, mode } in state.admitted.iter().map(|admitted| &**admitted) {
            let request = OpenRequest {
                session,
                peer: *peer,
                path: subject.path(),
                mode: *mode,
            };

            self.rules
                .check(&request, subject)
                .map_err(|refusal| match refusal {
                    OpenError::Failed(error) => error,
                    // The session is there for all to see.
                    OpenError::Denied(_) => EACCES,
                })?;
        }
        state.peers.push(*peer, GFP_KERNEL)?;
        Ok(())
    }

    /// A path from `peer` is gone.
    pub(crate) fn leave(&self, peer: &SockAddr) {
        let mut state = self.state.lock();

        if let Some(index) = state.peers.iter().position(|other| other == peer) {
            // It is there.
            let _ = state.peers.remove(index);
        }
    }

    /// Refuses to open anything for a session that may have nothing.
    pub(crate) fn expect_any(&self, path: &CStr, mode: AccessMode) -> Result<(), OpenError> {
        self.for_each_peer(&self.state.lock(), path.to_bytes(), mode, |request| {
            self.rules.expect_any(request)
        })
    }

    /// Refuses to tell what is wrong with a device that the session may not have.
    pub(crate) fn check(&self, subject: &RuleTarget, mode: AccessMode) -> Result<(), OpenError> {
        self.check_for_all(&self.state.lock(), subject, mode)
    }

    /// Lets a device in.
    pub(crate) fn admit(
        self: &Arc<Self>,
        subject: RuleTarget,
        mode: AccessMode,
    ) -> Result<AccessGrant, OpenError> {
        let mut state = self.state.lock();

        self.check_for_all(&state, &subject, mode)?;
        let admitted = Arc::new(Admitted { subject, mode }, GFP_KERNEL)?;
        state.admitted.push(admitted.clone(), GFP_KERNEL)?;
        Ok(AccessGrant {
            gate: self.clone(),
            admitted,
        })
    }

    fn check_for_all(
        &self,
        state: &State,
        subject: &RuleTarget,
        mode: AccessMode,
    ) -> Result<(), OpenError> {
        self.for_each_peer(state, subject.path(), mode, |request| {
            self.rules.check(request, subject)
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

        // Who asks came by some path.
        if state.peers.is_empty() {
            return Err(ENOTCONN.into());
        }
        for peer in &state.peers {
            check(&OpenRequest {
                session,
                peer: *peer,
                path,
                mode,
            })?;
        }
        Ok(())
    }
}

impl Drop for AccessGrant {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();

        state
            .admitted
            .retain(|admitted| !Arc::ptr_eq(admitted, &self.admitted));
    }
}
