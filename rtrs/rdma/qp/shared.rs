// SPDX-License-Identifier: GPL-2.0-only

//! State that a queue pair shares with every operation posted on it.

use core::{
    cell::UnsafeCell,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        AtomicU32,
        Ordering::{
            AcqRel,
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::sync::{
    Arc,
    SetOnce, //
};

use rnbd_proto::sq_credits::SqCredits;

use crate::{
    bindings,
    pr_err_ratelimited,
    rdma::{
        op_set::KeptOpSet,
        wc::Wc, //
    }, //
};

use super::{
    QpConfig,
    QpRef, //
};

/// Set once posting has ended. The other bits count posts that are under way.
const CLOSED: u32 = 1 << 31;

/// Lets posts through until it is closed; closing waits for those under way.
pub(in crate::rdma) struct Gate(AtomicU32);

/// A post that is under way. Its drop ends it.
pub(super) struct GatePass<'a>(&'a Gate);

impl Drop for GatePass<'_> {
    fn drop(&mut self) {
        self.0 .0.fetch_sub(1, Release);
    }
}

impl Gate {
    /// Begins a post. `None` once the gate is closed.
    pub(super) fn pass(&self) -> Option<GatePass<'_>> {
        let before = self.0.fetch_add(1, Acquire);
        let pass = GatePass(self);
        (before & CLOSED == 0).then_some(pass)
    }

    /// Ends posting; when this returns no post is under way.
    pub(in crate::rdma) fn close(&self) {
        self.0.fetch_or(CLOSED, AcqRel);
        while self.0.load(Acquire) != CLOSED {
            // A post takes microseconds and does not sleep.
            core::hint::spin_loop();
        }
    }
}

/// The object that the `qp_context` of a queue pair points to.
pub(in crate::rdma) struct QpShared<C> {
    pub(in crate::rdma) gate: Gate,
    pub(in crate::rdma) context: Arc<C>,
    pub(in crate::rdma) credits: SqCredits,
    /// See [`QpConfig::reserve`].
    pub(super) reserve: u32,
    /// The operations kept alive, see [`QpRef::keep`].
    pub(super) keep: SetOnce<KeptOpSet>,
    /// Whether the device accepted only a part of a chain, or failed at an unowned request.
    pub(in crate::rdma) broken: AtomicBool,
    /// See [`QpConfig::inline_imm`].
    pub(super) inline_imm: bool,
    /// Called with the errors of unsignaled work requests, and with the completions of
    /// work requests that belong to no operation.
    pub(in crate::rdma) chained: UnsafeCell<bindings::ib_cqe>,
    /// Called with the completion of the nop that returns deferred credits
    /// ([`SqCredits::begin_nop`]).
    pub(in crate::rdma) nop: UnsafeCell<bindings::ib_cqe>,
}

// SAFETY: `chained` and `nop` are not written after construction.
unsafe impl<C: Send + Sync> Sync for QpShared<C> {}
// SAFETY: As above.
unsafe impl<C: Send + Sync> Send for QpShared<C> {}

impl<C: Send + Sync + 'static> QpShared<C> {
    pub(in crate::rdma) fn new(context: Arc<C>, config: &QpConfig) -> Self {
        Self {
            gate: Gate(AtomicU32::new(0)),
            context,
            credits: SqCredits::new(config.send),
            reserve: config.reserve,
            keep: SetOnce::new(),
            broken: AtomicBool::new(false),
            inline_imm: config.inline_imm,
            chained: UnsafeCell::new(bindings::ib_cqe {
                done: Some(Self::chained_done),
            }),
            nop: UnsafeCell::new(bindings::ib_cqe {
                done: Some(Self::nop_done),
            }),
        }
    }

    /// # Safety
    ///
    /// `qp` must be alive for `'a` and have a `QpShared<C>` as its context.
    pub(in crate::rdma) unsafe fn of<'a>(qp: *mut bindings::ib_qp) -> QpRef<'a, C> {
        // SAFETY: As promised.
        unsafe {
            QpRef {
                qp: NonNull::new_unchecked(qp),
                shared: &*(*qp).qp_context.cast::<Self>(),
            }
        }
    }

    /// # Safety
    ///
    /// Called by the RDMA core with the completion of a work request that was posted with
    /// `chained` on a queue pair with such a context.
    unsafe extern "C" fn chained_done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: As the caller promises; both are valid for the duration of this call.
        let (qp, wc) = unsafe { (Self::of((*wc).qp), Wc::from_raw(wc)) };
        // Only chains of one work request that belongs to no operation are signaled here.
        qp.shared.unowned_done(wc, |credits| credits.release(1));
    }

    /// # Safety
    ///
    /// As for [`Self::chained_done`], posted with `nop`.
    unsafe extern "C" fn nop_done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: As the caller promises; both are valid for the duration of this call.
        let (qp, wc) = unsafe { (Self::of((*wc).qp), Wc::from_raw(wc)) };
        qp.shared.unowned_done(wc, SqCredits::nop_completed);
    }

    fn unowned_done(&self, wc: &Wc, release: impl FnOnce(&SqCredits)) {
        if wc.is_ok() {
            release(&self.credits);
        } else if !wc.is_flush() {
            pr_err_ratelimited!("unsignaled work request failed: {}\n", wc.status_name());
            // There may be no other completion that reports it.
            self.broken.store(true, Relaxed);
        }
    }
}
