// SPDX-License-Identifier: GPL-2.0-only

//! Operations that live as long as the queue pairs that they are posted on.
//!
//! What the hardware does not tell the end of, it cannot give back: it owns no
//! reference. The queue pair has one instead, until the hardware is done with all of
//! it. See [`QpRef::keep`](super::qp::QpRef::keep).

use super::op::Op;
use super::op::Operation;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::UniqueArc;

/// A set of operations. Each is of one set at most.
///
/// # Invariants
///
/// The operations are marked with the address of this set, and no other ones are.
pub struct OpSet<T: Operation>(KVec<Arc<Op<T>>>);

impl<T: Operation> OpSet<T> {
    /// Makes a set of `ops`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when one of them is of another set already.
    pub fn new(ops: KVec<Arc<Op<T>>>) -> Result<Arc<Self>> {
        let mut set = UniqueArc::new(Self(KVec::new()), GFP_KERNEL)?;
        let address = UniqueArc::as_ptr(&set).addr();
        for (index, op) in ops.iter().enumerate() {
            if !op.mark(address) {
                for marked in ops.iter().take(index) {
                    marked.unmark();
                }
                return Err(EBUSY);
            }
        }
        // INVARIANT: All are marked, and stay so until the set is dropped.
        set.0 = ops;
        Ok(set.into())
    }

    /// One of them.
    pub fn get(&self, index: usize) -> Option<&Arc<Op<T>>> {
        self.0.get(index)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Op<T>>> {
        self.0.iter()
    }
}

impl<T: Operation> Drop for OpSet<T> {
    fn drop(&mut self) {
        for op in &self.0 {
            op.unmark();
        }
    }
}

/// A [`OpSet`] of whatever operations.
pub(super) trait AnyOpSet: Send + Sync {}

impl<T: Operation> AnyOpSet for OpSet<T> {}

/// What a queue pair keeps.
pub(super) struct KeptOpSet {
    address: usize,
    _set: Arc<dyn AnyOpSet>,
}

impl KeptOpSet {
    pub(super) fn new<T: Operation>(set: Arc<OpSet<T>>) -> Self {
        Self {
            address: Arc::as_ptr(&set).addr(),
            _set: set,
        }
    }

    /// Whether `op` is kept. As long as `self` is there the mark of its set cannot
    /// belong to another one.
    pub(super) fn has<T: Operation>(&self, op: &Op<T>) -> bool {
        op.is_marked(self.address)
    }
}
