// SPDX-License-Identifier: GPL-2.0-only

//! Values that are replaced while readers use them without a lock.
//!
//! The kernel crate has RCU read-side sections, but no pointers that they protect.

use core::{
    marker::PhantomData,
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            AcqRel,
            Acquire, //
        }, //
    }, //
};

use kernel::{
    prelude::*,
    sync::rcu::{
        synchronize_rcu,
        Guard, //
    }, //
};

/// Waits until the softirq handlers that run have returned
/// ([`synchronize_rcu_expedited`](srctree/include/linux/rcutree.h)). Sleeps, less than
/// `synchronize_rcu`; interrupts the CPUs that run something.
pub(crate) fn wait_for_softirqs() {
    // SAFETY: It has no requirements but that the caller may sleep. Sections with softirqs
    // disabled, in which their handlers run, are RCU read-side sections.
    unsafe { kernel::bindings::synchronize_rcu_expedited() };
}

/// An optional owned value that RCU protects.
///
/// # Invariants
///
/// The pointer is null or that of a `KBox`. The box is freed only after every RCU read-side
/// section that may have read the pointer has ended.
pub(crate) struct RcuBox<T> {
    ptr: AtomicPtr<T>,
    _owned: PhantomData<KBox<T>>,
}

// SAFETY: Owns a `T`, which it hands to other threads.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: Readers share the `T`; `replace` moves it between threads.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Creates it without a value.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            ptr: AtomicPtr::new(core::ptr::null_mut()),
            _owned: PhantomData,
        }
    }

    /// Returns the value, valid during the RCU read-side section (`rcu_dereference`).
    #[inline]
    pub(crate) fn get<'a>(&'a self, _section: &'a Guard) -> Option<&'a T> {
        let ptr = self.ptr.load(Acquire);
        // SAFETY: By the type invariants the value stays until the section ends, which
        // outlives the borrow.
        unsafe { ptr.as_ref() }
    }

    /// Replaces the value with `new`, waits until no reader uses the old one
    /// (`synchronize_rcu`), and returns that. Sleeps.
    pub(crate) fn replace(&self, new: Option<KBox<T>>) -> Option<KBox<T>> {
        let new = new.map_or(core::ptr::null_mut(), KBox::into_raw);
        // INVARIANT: Null or of a `KBox`; readers of the old one are waited for below.
        let old = self.ptr.swap(new, AcqRel);
        if old.is_null() {
            return None;
        }
        synchronize_rcu();
        // SAFETY: By the type invariant, and no reader is left.
        Some(unsafe { KBox::from_raw(old) })
    }
}

impl<T> Default for RcuBox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        let ptr = *self.ptr.get_mut();
        if !ptr.is_null() {
            // SAFETY: By the type invariant; readers borrow `self`.
            drop(unsafe { KBox::from_raw(ptr) });
        }
    }
}
