// SPDX-License-Identifier: GPL-2.0-only

//! Work completions (`struct ib_wc`).

use kernel::{
    prelude::*,
    str::CStr, //
};

use crate::bindings;

/// Kind of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WcKind {
    /// A message arrived in a posted receive.
    Recv,
    /// The peer wrote to local memory and sent an immediate.
    RecvWriteImm,
    /// A work request of the send queue completed.
    Sent,
}

/// A work completion, valid for the call it is passed to.
#[repr(transparent)]
pub(crate) struct Wc(bindings::ib_wc);

impl Wc {
    /// # Safety
    ///
    /// `wc` must be a valid completion for `'a`.
    pub(super) unsafe fn from_raw<'a>(wc: *const bindings::ib_wc) -> &'a Self {
        // SAFETY: As promised; the layout is transparent.
        unsafe { &*wc.cast() }
    }

    /// Whether the work request succeeded. If not, only [`Wc::is_flush`] and
    /// [`Wc::status_name`] mean anything.
    pub(crate) fn is_ok(&self) -> bool {
        self.0.status == bindings::ib_wc_status_IB_WC_SUCCESS
    }

    /// Whether the work request did not run, as the queue pair was in the error state.
    pub(crate) fn is_flush(&self) -> bool {
        self.0.status == bindings::ib_wc_status_IB_WC_WR_FLUSH_ERR
    }

    /// Returns the name of the status (`ib_wc_status_msg`).
    pub(crate) fn status_name(&self) -> &'static CStr {
        // SAFETY: Returns a string constant for every value.
        unsafe { CStr::from_char_ptr(bindings::ib_wc_status_msg(self.0.status)) }
    }

    /// Returns the kind.
    pub(crate) fn kind(&self) -> WcKind {
        match self.0.opcode {
            bindings::ib_wc_opcode_IB_WC_RECV => WcKind::Recv,
            bindings::ib_wc_opcode_IB_WC_RECV_RDMA_WITH_IMM => WcKind::RecvWriteImm,
            _ => WcKind::Sent,
        }
    }

    /// Returns the number of bytes received.
    pub(crate) fn byte_len(&self) -> usize {
        self.0.byte_len as usize
    }

    fn has_flag(&self, flag: bindings::ib_wc_flags) -> bool {
        self.0.wc_flags as u32 & flag != 0
    }

    /// Returns the immediate, if the message has one.
    pub(crate) fn imm(&self) -> Option<u32> {
        self.has_flag(bindings::ib_wc_flags_IB_WC_WITH_IMM)
            // SAFETY: The flag says which member of the union is set; both are
            // plain integers.
            .then(|| u32::from_be(unsafe { *self.0.ex.imm_data.as_ref() }))
    }

    /// Returns the local key that the message invalidated, if it did.
    pub(crate) fn invalidated_rkey(&self) -> Option<u32> {
        self.has_flag(bindings::ib_wc_flags_IB_WC_WITH_INVALIDATE)
            // SAFETY: As above.
            .then(|| unsafe { *self.0.ex.invalidate_rkey.as_ref() })
    }
}
