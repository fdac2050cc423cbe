// SPDX-License-Identifier: GPL-2.0-only

//! Operations: the owners of the memory that work requests name.
//!
//! An [`Op`] holds a completion entry and the data that work requests name: buffers,
//! regions, mappings. [`rnbd_proto::op_state`] has its life cycle: an [`HeldOp`] gives
//! exclusive access to the data; posting consumes it, and the last awaited event creates a
//! new one for [`Operation::finish`]. In between the data is shared, and only read.

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
    sync::atomic::{
        AtomicPtr,
        AtomicU32,
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::op_state::{
    EventOutcome,
    OpState,
    ResponseArrival, //
};

use crate::{
    bindings,
    kernel_ext::preempt, //
};

use super::{
    qp::{
        QpRef,
        QpShared, //
    },
    wc::Wc, //
};

/// The data of an operation, and the functions called when it completes.
///
/// They run in the context of the completion queue ([`PollContext`](super::qp::PollContext)),
/// or in that of the caller of [`Op::record_response`].
pub(crate) trait Operation: Send + Sync + Sized + 'static {
    /// The context of the queue pairs that the operation can be posted on.
    type Context: Send + Sync + 'static;

    /// Called when the hardware has completed the work request. A response may still be
    /// recorded at the same time.
    fn completed(&self, qp: &QpRef<'_, Self::Context>, wc: &Wc) {
        let _ = (qp, wc);
    }

    /// Called after the last awaited event.
    ///
    /// `qp` is `None` if teardown ended it in place of the peer or the hardware; `wc` is `Some`
    /// if the last event was this completion.
    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Self::Context>>, wc: Option<&Wc>);
}

/// An operation.
///
/// # Invariants
///
/// - `cqe.done` is [`Op::<T>::done`].
/// - While `state` is held, the holder has exclusive access to `value`; otherwise there are
///   only shared references to it.
/// - While a send completion is awaited, the hardware owns one reference count, and `qp` is
///   that of the queue pair that it was posted on.
#[repr(C)]
pub(crate) struct Op<T: Operation> {
    // First, so that the pointer that a completion carries is that of `Self`.
    cqe: UnsafeCell<bindings::ib_cqe>,
    state: OpState,
    /// Written by the holder, and not valid once the queue pair is gone.
    qp: AtomicPtr<QpShared<T::Context>>,
    /// Send queue credits that its completion returns.
    wrs: AtomicU32,
    /// Address of the [`OpSet`](super::op_set::OpSet) that it is in, or 0.
    set: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: Ownership of the value moves with the state, see the invariants.
unsafe impl<T: Operation> Send for Op<T> {}
// SAFETY: As above.
unsafe impl<T: Operation> Sync for Op<T> {}

impl<T: Operation> Op<T> {
    /// Creates an idle operation.
    pub(crate) fn new(value: T) -> Result<Arc<Self>> {
        // INVARIANT: `done` is set; the operation is idle.
        Ok(Arc::new(
            Self {
                cqe: UnsafeCell::new(bindings::ib_cqe {
                    done: Some(Self::done),
                }),
                state: OpState::new(),
                qp: AtomicPtr::new(core::ptr::null_mut()),
                wrs: AtomicU32::new(0),
                set: AtomicUsize::new(0),
                value: UnsafeCell::new(value),
            },
            GFP_KERNEL,
        )?)
    }

    /// Takes exclusive access. `None` when the operation is held or posted.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<HeldOp<T>> {
        // INVARIANT: `begin` makes this task the holder.
        self.state.begin().then(|| HeldOp { op: self.clone() })
    }

    /// Records the response that a posted operation awaits by calling `record`.
    ///
    /// `qp` is the queue pair that the response arrived on. Returns false, without calling
    /// `record`, when no response is awaited. If the response is the last event, the operation
    /// is finished before this returns. If the operation was [taken over](Op::take_over), its
    /// data is not available.
    pub(crate) fn record_response(
        self: &Arc<Self>,
        qp: &QpRef<'_, T::Context>,
        record: impl Fn(Option<&T>),
    ) -> bool {
        self.respond(Some(qp), record)
    }

    /// Responds in place of the peer, if a response is awaited.
    pub(super) fn end_response(self: &Arc<Self>) {
        self.respond(None, |_| ());
    }

    fn respond(
        self: &Arc<Self>,
        qp: Option<&QpRef<'_, T::Context>>,
        record: impl Fn(Option<&T>),
    ) -> bool {
        loop {
            match self.state.begin_response() {
                ResponseArrival::Awaited => break,
                ResponseArrival::Refused => return false,
                ResponseArrival::Owed => {}
            }
            // The owner of the operation may wait in a loop for the end of recording.
            let owed = preempt::without_preemption(|| {
                let owed = self.state.begin_owed();
                if owed {
                    record(None);
                    self.state.owed_recorded();
                }
                owed
            });
            if owed {
                return true;
            }
        }
        // SAFETY: Between `begin_response` and `response_recorded` the operation is posted,
        // so by the type invariants there is no exclusive access.
        record(Some(unsafe { &*self.value.get() }));
        if self.state.response_recorded() == EventOutcome::Last {
            // INVARIANT: The last event makes this task the holder.
            T::finish(HeldOp { op: self.clone() }, qp, None);
        }
        true
    }

    /// Takes exclusive access from a peer that owes nothing but its response. `None` when anything
    /// else is awaited. See [`OpState::take_over`].
    pub(crate) fn take_over(self: &Arc<Self>) -> Option<HeldOp<T>> {
        // INVARIANT: `take_over` makes this task the holder.
        self.state.take_over().then(|| HeldOp { op: self.clone() })
    }

    /// Counts one more timeout of a posted operation, and returns their number. `None` when
    /// it is not posted. See [`OpState::count_timeout`].
    pub(crate) fn count_timeout(&self) -> Option<u32> {
        self.state.count_timeout()
    }

    /// Returns the `wr_cqe` of its work requests.
    pub(super) fn cqe(&self) -> *mut bindings::ib_cqe {
        self.cqe.get()
    }

    pub(super) fn wrs(&self) -> u32 {
        self.wrs.load(Relaxed)
    }

    /// Prepares a post on `qp` that takes `wrs` credits. Only the holder may call this.
    pub(super) fn prepare_post(&self, qp: &QpRef<'_, T::Context>, wrs: u32) {
        // INVARIANT: Before a send completion is awaited.
        self.qp
            .store(core::ptr::from_ref(qp.shared).cast_mut(), Relaxed);
        self.wrs.store(wrs, Relaxed);
    }

    /// Marks it as a member of a set; returns false if it is in one already.
    pub(super) fn mark(&self, set: usize) -> bool {
        self.set.compare_exchange(0, set, Relaxed, Relaxed).is_ok()
    }

    /// Removes the mark of a set that is being dropped.
    pub(super) fn unmark(&self) {
        self.set.store(0, Relaxed);
    }

    /// Whether it is a member of this set.
    pub(super) fn is_marked(&self, set: usize) -> bool {
        self.set.load(Relaxed) == set
    }

    pub(super) fn state(&self) -> &OpState {
        &self.state
    }

    /// Ends the wait for a completion that never comes, if one is awaited.
    ///
    /// # Safety
    ///
    /// The queue pair that the operation was posted on is destroyed, and none of its completions
    /// is being handled or will be.
    pub(super) unsafe fn give_back(self: &Arc<Self>) {
        let outcome = self.state.send_completed();
        if outcome == EventOutcome::Refused {
            return;
        }
        // SAFETY: By the type invariants the hardware owned a reference count, as a completion
        // was awaited. It does not use that any more, as the caller promises.
        let op = unsafe { Arc::from_raw(Arc::as_ptr(self)) };
        if outcome == EventOutcome::Last {
            // INVARIANT: The last event makes this task the holder.
            T::finish(HeldOp { op }, None, None);
        }
    }

    /// # Safety
    ///
    /// Called by the RDMA core with the completion of a work request that [`QpRef`] posted
    /// with the `cqe` of an `Op<T>`, once for each post.
    unsafe extern "C" fn done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: The pointer is that of `cqe`, the first field of an `Op<T>`; the post
        // passed a reference count with it.
        let op = unsafe { Arc::from_raw((*(*wc).__bindgen_anon_1.wr_cqe.as_ref()).cast::<Self>()) };
        // Not the queue pair that the completion names, which may be destroyed already: what was
        // completed before that is still handled.
        //
        // SAFETY: By the type invariants that of the queue pair that the operation was posted on,
        // which stays until its completions are over.
        let qp = unsafe { QpRef::new(&*op.qp.load(Relaxed)) };
        qp.release_credits(&op);
        // SAFETY: Valid for the duration of this call.
        let wc = unsafe { Wc::from_raw(wc) };
        // SAFETY: The send completion is still awaited, so the operation is posted and there
        // is no exclusive access.
        unsafe { &*op.value.get() }.completed(&qp, wc);
        if op.state.send_completed() == EventOutcome::Last {
            // INVARIANT: The last event makes this task the holder.
            T::finish(HeldOp { op }, Some(&qp), Some(wc));
        }
    }
}

/// Exclusive access to the data of an operation. The drop makes the operation idle, or
/// [parks](HeldOp::park) it.
///
/// # Invariants
///
/// The state of `op` is held, by this value.
pub(crate) struct HeldOp<T: Operation> {
    op: Arc<Op<T>>,
}

impl<T: Operation> HeldOp<T> {
    /// Returns the operation.
    pub(crate) fn op(&self) -> &Arc<Op<T>> {
        &self.op
    }

    /// Awaits the response that an operation [taken over](Op::take_over) is owed. Returns the
    /// operation if there was one.
    pub(crate) fn park(self) -> core::result::Result<(), Self> {
        match self.op.state.park() {
            true => {
                drop(self.into_op());
                Ok(())
            }
            false => Err(self),
        }
    }

    /// Consumes the guard without releasing the operation.
    pub(super) fn into_op(self) -> Arc<Op<T>> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the field is moved out once.
        unsafe { core::ptr::read(&this.op) }
    }

    /// # Safety
    ///
    /// The caller holds `op`.
    pub(super) unsafe fn from_op(op: Arc<Op<T>>) -> Self {
        // INVARIANT: As promised.
        Self { op }
    }
}

impl<T: Operation> Deref for HeldOp<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariant access is exclusive to `self`.
        unsafe { &*self.op.value.get() }
    }
}

impl<T: Operation> DerefMut for HeldOp<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As above, and `self` is borrowed mutably.
        unsafe { &mut *self.op.value.get() }
    }
}

impl<T: Operation> Drop for HeldOp<T> {
    fn drop(&mut self) {
        self.op.state.release();
    }
}
