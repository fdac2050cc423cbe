// SPDX-License-Identifier: GPL-2.0-only

//! Sets of operations that queue pairs keep alive, and give back when they are gone.
//!
//! An operation can be posted only on queue pairs that [keep](super::qp::QpRef::keep) its set.
//! They keep it until they are destroyed and their completions are over. Two things follow:
//!
//! - An operation posted without a completion, which therefore holds no reference for the
//!   hardware, is not freed while the device may access it.
//! - When the last queue pair is gone, no device accesses any operation of the set, and what is
//!   still in flight never completes. It is given back then. So an operation ends even if the
//!   device loses its completion, or refuses to drain the queue pair.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

use rnbd_proto::op_set_state::OpSetState;

use super::op::{
    HeldOp,
    Op,
    Operation, //
};

/// A set of operations. An operation is in one set at most.
///
/// # Invariants
///
/// Exactly the operations of this set are marked with its address.
pub(crate) struct OpSet<T: Operation> {
    ops: KVec<Arc<Op<T>>>,
    state: OpSetState,
}

impl<T: Operation> OpSet<T> {
    /// Creates a set of `ops`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when one of them is not idle or is in another set already, `ENOMEM`.
    pub(crate) fn new(ops: KVec<Arc<Op<T>>>) -> Result<Arc<Self>> {
        let mut set = UniqueArc::new(
            Self {
                ops: KVec::new(),
                state: OpSetState::new(),
            },
            GFP_KERNEL,
        )?;
        let address = UniqueArc::as_ptr(&set).addr();
        for (index, op) in ops.iter().enumerate() {
            // Held meanwhile, as an operation in flight may be on any queue pair.
            if !op.begin().is_some_and(|held| held.op().mark(address)) {
                for marked in ops.iter().take(index) {
                    marked.unmark();
                }
                return Err(EBUSY);
            }
        }
        // INVARIANT: All are marked, and remain so until the set is dropped.
        set.ops = ops;
        Ok(set.into())
    }

    /// Creates a set of one operation, and returns both.
    pub(crate) fn of_one(value: T) -> Result<(Arc<Self>, HeldOp<T>)> {
        let op = Op::new(value)?;
        let mut ops = KVec::with_capacity(1, GFP_KERNEL)?;
        ops.push(op.clone(), GFP_KERNEL)?;
        Ok((Self::new(ops)?, op.begin().ok_or(EBUSY)?))
    }

    /// Returns the operation at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Op<T>>> {
        self.ops.get(index)
    }

    /// Returns all operations.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Op<T>>> {
        self.ops.iter()
    }

    /// Ends the set when its queue pairs are gone: responds in place of the peer to the
    /// operations that await that, and passes all to `f`. No device accesses their memory, and
    /// none can be posted again.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a queue pair keeps the set.
    pub(crate) fn end(&self, mut f: impl FnMut(HeldOp<T>)) -> Result {
        if !self.state.end() {
            return Err(EBUSY);
        }
        for op in &self.ops {
            op.end_response();
            if let Some(held) = op.begin() {
                f(held);
            }
        }
        Ok(())
    }
}

impl<T: Operation> Drop for OpSet<T> {
    fn drop(&mut self) {
        for op in &self.ops {
            op.unmark();
        }
    }
}

/// An [`OpSet`] whose type of operations is erased.
trait ErasedOpSet: Send + Sync {
    /// A queue pair that kept the set is gone.
    ///
    /// # Safety
    ///
    /// The queue pair is destroyed, and none of its completions is being handled or will be.
    /// Called once for each that was counted.
    unsafe fn leave(&self);
}

impl<T: Operation> ErasedOpSet for OpSet<T> {
    unsafe fn leave(&self) {
        if !self.state.leave() {
            return;
        }
        for op in &self.ops {
            // SAFETY: Operations of a set are posted only on queue pairs that keep it, see
            // `QpRef::post_chain` and `QpRef::post_recv`. All of those are gone, as the caller
            // promises for each.
            unsafe { op.give_back() };
        }
        self.state.given_back();
    }
}

/// A set that a queue pair keeps. The drop gives it back, if no other queue pair keeps it.
///
/// # Invariants
///
/// The queue pair is counted in the state of `set`, whose address is `address`.
pub(super) struct KeptOpSet {
    address: usize,
    set: Arc<dyn ErasedOpSet>,
}

impl KeptOpSet {
    /// Counts the queue pair that keeps `set`. `None` if the set has ended.
    ///
    /// # Safety
    ///
    /// The result must be dropped only when the queue pair is destroyed, and its completions are
    /// over, or when nothing was posted on it that is in the set.
    pub(super) unsafe fn new<T: Operation>(set: Arc<OpSet<T>>) -> Option<Self> {
        // INVARIANT: Counted here.
        set.state.keep().then(|| Self {
            address: Arc::as_ptr(&set).addr(),
            set,
        })
    }

    /// Whether `op` is in the set. The address is unique, as `self` keeps the set allocated.
    #[inline]
    pub(super) fn contains<T: Operation>(&self, op: &Op<T>) -> bool {
        op.is_marked(self.address)
    }
}

impl Drop for KeptOpSet {
    fn drop(&mut self) {
        // SAFETY: As the caller of `new` promised. Counted by the type invariant, and dropped
        // once.
        unsafe { self.set.leave() };
    }
}
