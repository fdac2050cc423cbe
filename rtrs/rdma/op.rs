// SPDX-License-Identifier: GPL-2.0-only

//! Operations: what work requests carry through the hardware and back.
//!
//! An [`Op`] holds a completion entry and the data that work requests name:
//! buffers, regions, mappings. Its life cycle is [`rnbd_proto::op_state`]:
//! whoever has an [`HeldOp`] has the data for itself; posting consumes the
//! `HeldOp`, and the last awaited event creates a new one for
//! [`Operation::finish`]. In between the data is only shared.

use super::qp::QpRef;
use super::qp::QpShared;
use super::wc::Wc;
use crate::bindings;
use core::cell::UnsafeCell;
use core::ops::Deref;
use core::ops::DerefMut;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::op_state::EventOutcome;
use rnbd_proto::op_state::OpState;

/// The data of an operation, and what happens when it comes back.
///
/// All functions run in the context of the completion queue (softirq, or a
/// worker where the queue was made so), or in that of who answers.
pub trait Operation: Send + Sync + Sized + 'static {
    /// The context of the queue pairs it can be posted on.
    type Context: Send + Sync + 'static;

    /// The hardware gave the work request back; others may still read the data.
    fn completed(&self, qp: &QpRef<'_, Self::Context>, wc: &Wc) {
        let _ = (qp, wc);
    }

    /// The last awaited event happened.
    ///
    /// `qp` is there unless teardown answered in place of the peer, `wc` when
    /// the last event was this completion.
    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Self::Context>>, wc: Option<&Wc>);
}

/// An operation.
///
/// # Invariants
///
/// - `cqe.done` is [`Op::<T>::done`].
/// - While `state` is held, the one holder has exclusive access to `value`;
///   otherwise there are only shared references to it.
/// - While the hardware has the operation (event "wire" awaited), it owns one
///   reference count.
#[repr(C)]
pub struct Op<T> {
    // First, so that the pointer which the hardware returns is that of `Self`.
    cqe: UnsafeCell<bindings::ib_cqe>,
    state: OpState,
    /// Work requests of the send queue that are done when its own ones are.
    wrs: AtomicU32,
    /// Address of the [`OpSet`](super::op_set::Kept) that it is in, or 0.
    set: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: Ownership of the value moves with the state, see the invariants.
unsafe impl<T: Send + Sync> Send for Op<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Op<T> {}

impl<T: Operation> Op<T> {
    /// Makes an idle operation.
    pub fn new(value: T) -> Result<Arc<Self>> {
        // INVARIANT: `done` is set; nobody holds it.
        Ok(Arc::new(
            Self {
                cqe: UnsafeCell::new(bindings::ib_cqe {
                    done: Some(Self::done),
                }),
                state: OpState::new(),
                wrs: AtomicU32::new(0),
                set: AtomicUsize::new(0),
                value: UnsafeCell::new(value),
            },
            GFP_KERNEL,
        )?)
    }

    /// Takes exclusive access. `None` when held or in state.
    pub fn begin(self: &Arc<Self>) -> Option<HeldOp<T>> {
        // INVARIANT: `begin` makes us the holder.
        self.state.begin().then(|| HeldOp { op: self.clone() })
    }

    /// Records the answer that an operation in flight awaits, by `record`; it
    /// came in by `qp`, or is that of teardown in place of the peer.
    ///
    /// False, and `record` is not called, when no answer is awaited. When it
    /// is the last event, the operation is finished before this returns.
    pub fn record_response(
        self: &Arc<Self>,
        qp: Option<&QpRef<'_, T::Context>>,
        record: impl FnOnce(&T),
    ) -> bool {
        if !self.state.begin_response() {
            return false;
        }
        // SAFETY: Between `begin_response` and `response_recorded` the operation is in
        // flight, so by the type invariant nobody has exclusive access.
        record(unsafe { &*self.value.get() });
        if self.state.response_recorded() == EventOutcome::Last {
            // INVARIANT: The last event makes us the holder.
            T::finish(HeldOp { op: self.clone() }, qp, None);
        }
        true
    }

    /// It is in flight longer than it should be, for one more period: for how many?
    /// `None` when it is not in state. See [`OpState::count_timeout`].
    pub fn count_timeout(&self) -> Option<u32> {
        self.state.count_timeout()
    }

    /// The pointer under which the hardware knows it.
    pub(super) fn cqe(&self) -> *mut bindings::ib_cqe {
        self.cqe.get()
    }

    pub(super) fn wrs(&self) -> u32 {
        self.wrs.load(Relaxed)
    }

    /// To be called by the holder only.
    pub(super) fn set_wrs(&self, wrs: u32) {
        self.wrs.store(wrs, Relaxed);
    }

    /// Notes in which set it is; false if it is in one.
    pub(super) fn mark(&self, set: usize) -> bool {
        self.set.compare_exchange(0, set, Relaxed, Relaxed).is_ok()
    }

    /// Its set is no more.
    pub(super) fn unmark(&self) {
        self.set.store(0, Relaxed);
    }

    /// Whether it is in that set.
    pub(super) fn is_marked(&self, set: usize) -> bool {
        self.set.load(Relaxed) == set
    }

    pub(super) fn state(&self) -> &OpState {
        &self.state
    }

    /// # Safety
    ///
    /// Called by the RDMA core for a completion of a work request that was
    /// posted by [`QpRef`] with the `cqe` of an `Op<T>`, once for each post.
    unsafe extern "C" fn done(_cq: *mut bindings::ib_cq, wc: *mut bindings::ib_wc) {
        // SAFETY: The pointer is the one posted: that of `cqe`, which is the
        // first field of an `Op<T>` whose reference count was handed over.
        let op = unsafe { Arc::from_raw((*(*wc).__bindgen_anon_1.wr_cqe.as_ref()).cast::<Self>()) };
        // SAFETY: `QpRef` only posts on queue pairs whose context is a
        // `QpShared` of the right type, which lives as long as the queue pair.
        let qp = unsafe { QpShared::<T::Context>::of((*wc).qp) };
        qp.sent(&op);
        // SAFETY: Valid for the duration of this call.
        let wc = unsafe { Wc::from_raw(wc) };
        // SAFETY: The wire event is still awaited, so the operation is in
        // flight and nobody has exclusive access.
        unsafe { &*op.value.get() }.completed(&qp, wc);
        if op.state.send_completed() == EventOutcome::Last {
            // INVARIANT: The last event makes us the holder.
            T::finish(HeldOp { op }, Some(&qp), Some(wc));
        }
    }
}

/// Exclusive access to an operation's data; dropping it makes the operation
/// idle.
///
/// # Invariants
///
/// The state of `op` is held, by this value.
pub struct HeldOp<T: Operation> {
    op: Arc<Op<T>>,
}

impl<T: Operation> HeldOp<T> {
    /// The operation itself.
    pub fn op(&self) -> &Arc<Op<T>> {
        &self.op
    }

    /// Gives up the guard without releasing the operation.
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
