// SPDX-License-Identifier: GPL-2.0-only

//! Values that readers look at without a lock while they are replaced.
//!
//! The kernel crate has RCU sections, but no pointers protected by them.

use core::marker::PhantomData;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::AcqRel;
use core::sync::atomic::Ordering::Acquire;

use kernel::prelude::*;
use kernel::sync::rcu::synchronize_rcu;
use kernel::sync::rcu::Guard;

/// A place for an owned value, or for none.
///
/// # Invariants
///
/// The pointer is null or that of a `KBox`, which is freed only when no RCU
/// section that may have read the pointer goes on.
pub struct RcuBox<T> {
    ptr: AtomicPtr<T>,
    _owned: PhantomData<KBox<T>>,
}

// SAFETY: Owns a `T`, which it hands to other threads.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: Readers share the `T`; `replace` moves it between threads.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// An empty place.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            ptr: AtomicPtr::new(core::ptr::null_mut()),
            _owned: PhantomData,
        }
    }

    /// The value, good for as long as the RCU section.
    #[inline]
    pub fn get<'a>(&'a self, _section: &'a Guard) -> Option<&'a T> {
        let ptr = self.ptr.load(Acquire);
        // SAFETY: By the type invariant the value stays until the section, which
        // outlives the borrow, is over.
        unsafe { ptr.as_ref() }
    }

    /// Puts `new` in the place of the present value, which is given back when
    /// nobody looks at it any more. Sleeps.
    pub fn replace(&self, new: Option<KBox<T>>) -> Option<KBox<T>> {
        let new = new.map_or(core::ptr::null_mut(), KBox::into_raw);
        // INVARIANT: Null or of a `KBox`; who looked at the old one before is
        // waited for below.
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
