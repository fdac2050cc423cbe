// SPDX-License-Identifier: GPL-2.0-only

//! Sets of operations that a queue pair keeps alive until it is drained.
//!
//! An operation posted without a completion is not owned by the hardware, as no completion
//! could drop that reference. The queue pair holds a reference to its whole set instead. See
//! [`QpRef::keep`](super::qp::QpRef::keep).

use kernel::{
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

use super::op::{
    Op,
    Operation, //
};

/// A set of operations. An operation is in one set at most.
///
/// # Invariants
///
/// Exactly the operations of this set are marked with its address.
pub(crate) struct OpSet<T: Operation>(KVec<Arc<Op<T>>>);

impl<T: Operation> OpSet<T> {
    /// Creates a set of `ops`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when one of them is in another set already, `ENOMEM`.
    pub(crate) fn new(ops: KVec<Arc<Op<T>>>) -> Result<Arc<Self>> {
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
        // INVARIANT: All are marked, and remain so until the set is dropped.
        set.0 = ops;
        Ok(set.into())
    }

    /// Returns the operation at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Op<T>>> {
        self.0.get(index)
    }

    /// Returns all operations.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Op<T>>> {
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

/// An [`OpSet`] whose type of operations is erased.
trait ErasedOpSet: Send + Sync {}

impl<T: Operation> ErasedOpSet for OpSet<T> {}

/// The set that a queue pair keeps alive.
pub(super) struct KeptOpSet {
    address: usize,
    _set: Arc<dyn ErasedOpSet>,
}

impl KeptOpSet {
    pub(super) fn new<T: Operation>(set: Arc<OpSet<T>>) -> Self {
        Self {
            address: Arc::as_ptr(&set).addr(),
            _set: set,
        }
    }

    /// Whether `op` is in the set. The address is unique, as `self` keeps the set allocated.
    pub(super) fn contains<T: Operation>(&self, op: &Op<T>) -> bool {
        op.is_marked(self.address)
    }
}
