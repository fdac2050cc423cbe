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

use kernel::{
    container_of,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use rnbd_proto::{
    send_queue_size::SendQueueSize,
    sq_credits::SqCredits, //
};

use crate::{
    bindings,
    kernel_ext::{
        cache_padded::CachePadded,
        set_once::SetOnce, //
    },
    pr_err_ratelimited,
    rdma::{
        op_set::KeptOpSet,
        wc::Wc, //
    }, //
};

use super::QpConfig;

/// Set once posting has ended. The other bits count posts that are under way.
const CLOSED: u32 = 1 << 31;

/// The time that a post takes, without its preemption.
const POST: Delta = Delta::from_micros(20);
/// Number of looks for the end of posts before the first sleep. The task that posts may have been
/// preempted by the one that waits.
const SPINS: u32 = 1000;

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

    /// Ends posting; when this returns no post is under way. Sleeps.
    pub(in crate::rdma) fn close(&self) {
        self.0.fetch_or(CLOSED, AcqRel);
        let mut polls = 0;
        while self.0.load(Acquire) != CLOSED {
            if polls < SPINS {
                polls += 1;
                core::hint::spin_loop();
            } else {
                fsleep(POST);
            }
        }
    }
}

/// What every post and many completions write.
pub(in crate::rdma) struct PostState {
    pub(in crate::rdma) gate: Gate,
    pub(in crate::rdma) credits: SqCredits,
}

/// Number of sets of operations that a queue pair can keep.
const MAX_SETS: usize = 4;

/// What belongs to a queue pair.
///
/// Its owner drops it when the queue pair is destroyed and its completions are over. Completions
/// may be handled after the queue pair is destroyed, but then nothing is posted.
///
/// # Invariants
///
/// Unless the gate is closed, `qp` is alive.
pub(in crate::rdma) struct QpShared<C> {
    qp: NonNull<bindings::ib_qp>,
    pub(in crate::rdma) context: Arc<C>,
    pub(in crate::rdma) posts: CachePadded<PostState>,
    /// The size of the send queue.
    pub(super) send: SendQueueSize,
    /// See [`QpConfig::reserve`].
    pub(super) reserve: u32,
    /// The operations that can be posted, see [`QpRef::keep`](super::QpRef::keep).
    pub(super) kept: [SetOnce<KeptOpSet>; MAX_SETS],
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

// SAFETY: `chained` and `nop` are not written after construction, and the queue pair has no thread
// affinity.
unsafe impl<C: Send + Sync> Sync for QpShared<C> {}
// SAFETY: As above.
unsafe impl<C: Send + Sync> Send for QpShared<C> {}

impl<C: Send + Sync + 'static> QpShared<C> {
    /// # Safety
    ///
    /// `qp` must be alive until the gate is closed, and have a send queue of size `send`.
    pub(in crate::rdma) unsafe fn new(
        qp: NonNull<bindings::ib_qp>,
        context: Arc<C>,
        config: &QpConfig,
        send: SendQueueSize,
    ) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            qp,
            context,
            posts: CachePadded(PostState {
                gate: Gate(AtomicU32::new(0)),
                credits: SqCredits::new(send.wrs),
            }),
            send,
            reserve: config.reserve,
            kept: [const { SetOnce::new() }; MAX_SETS],
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
    /// Called by the RDMA core with the completion of a work request that was posted with
    /// `chained` of such an object.
    unsafe extern "C" fn chained_done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: As the caller promises. The completion is valid for the duration of this call,
        // and the object stays until completions are over.
        let (shared, wc) = unsafe {
            let cqe = *(*wc).__bindgen_anon_1.wr_cqe.as_ref();
            let cqe = cqe.cast::<UnsafeCell<bindings::ib_cqe>>();
            (&*container_of!(cqe, Self, chained), Wc::from_raw(wc))
        };
        // Only chains of one work request that belongs to no operation are signaled here.
        shared.unowned_done(wc, |credits| credits.release(1));
    }

    /// # Safety
    ///
    /// As for [`Self::chained_done`], posted with `nop`.
    unsafe extern "C" fn nop_done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: As in `chained_done`.
        let (shared, wc) = unsafe {
            let cqe = *(*wc).__bindgen_anon_1.wr_cqe.as_ref();
            let cqe = cqe.cast::<UnsafeCell<bindings::ib_cqe>>();
            (&*container_of!(cqe, Self, nop), Wc::from_raw(wc))
        };
        shared.unowned_done(wc, SqCredits::nop_completed);
    }

    /// Returns the queue pair, which is alive unless the gate is closed.
    pub(in crate::rdma) fn qp(&self) -> NonNull<bindings::ib_qp> {
        self.qp
    }

    fn unowned_done(&self, wc: &Wc, release: impl FnOnce(&SqCredits)) {
        if wc.is_ok() {
            release(&self.posts.credits);
        } else if !wc.is_flush() {
            pr_err_ratelimited!(Arc::as_ptr(&self.context).addr() as u64 => "unsignaled work request failed: {}\n", wc.status_name());
            // There may be no other completion that reports it.
            self.broken.store(true, Relaxed);
        }
    }
}
