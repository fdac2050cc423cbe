// SPDX-License-Identifier: GPL-2.0-only

//! Values that are set once and then read on the I/O path.
//!
//! [`kernel::sync::SetOnce`] with a look-up that is inlined. That one calls a C helper for its
//! load, as the kernel's atomics do without `CONFIG_RUST_INLINE_HELPERS`.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{
        AtomicU32,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

const EMPTY: u32 = 0;
/// One task writes the value.
const BUSY: u32 = 1;
const SET: u32 = 2;

/// A value that is set once at most, from any task, and stays until the drop.
///
/// # Invariants
///
/// `state` changes from `EMPTY` to `BUSY` to `SET` only. The task that makes it `BUSY` has
/// exclusive access to `value`; once it is `SET`, `value` is initialised and only shared.
pub(crate) struct SetOnce<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: Owns a `T`.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: Shares a `T`, which another task may have moved in.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Creates an empty one.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Empty.
        Self {
            state: AtomicU32::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Returns the value, if it is set. From any context.
    #[inline]
    pub(crate) fn as_ref(&self) -> Option<&T> {
        match self.state.load(Acquire) {
            // SAFETY: Initialised and only shared, by the type invariants.
            SET => Some(unsafe { (*self.value.get()).assume_init_ref() }),
            _ => None,
        }
    }

    /// Sets the value. Returns false, and drops `value`, if there is one already.
    pub(crate) fn populate(&self, value: T) -> bool {
        let first = self
            .state
            .compare_exchange(EMPTY, BUSY, Relaxed, Relaxed)
            .is_ok();
        if first {
            // SAFETY: Exclusive, as this task has made the state `BUSY`.
            unsafe { (*self.value.get()).write(value) };
            // INVARIANT: Initialised just now.
            self.state.store(SET, Release);
        }
        first
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: Initialised by the type invariants, and not used after this.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}
