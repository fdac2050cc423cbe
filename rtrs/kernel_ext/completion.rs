// SPDX-License-Identifier: GPL-2.0-only

//! Completions with timeouts.
//!
//! The kernel crate's `Completion` can only be waited for without a limit.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use kernel::{
    prelude::*,
    time::Delta,
    types::Opaque, //
};

use crate::bindings;

/// An event that tasks wait for, a `struct completion`.
#[pin_data]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: Completions may be used on any task.
unsafe impl Send for Completion {}
// SAFETY: Completions do their own locking.
unsafe impl Sync for Completion {}

impl Completion {
    /// Creates a completion that is not done ([`init_completion`](srctree/include/linux/completion.h)).
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes and stays in place.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Wakes one waiter, a present one or the next (`complete`). From any context.
    pub fn complete(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Wakes all waiters, present and future ones (`complete_all`). From any context.
    pub fn complete_all(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Makes the completion not done, to be used again (`reinit_completion`).
    ///
    /// No task should wait or complete at the same time: whether it is woken is then
    /// undetermined, though memory safe.
    pub(crate) fn reinit(&self) {
        // SAFETY: Initialised in `new`. The counter is an integer that waiters
        // and completers access under their lock, and they tolerate any value.
        unsafe { (&raw mut (*self.inner.get()).done).write_volatile(0) };
    }

    /// Whether a wait would return at once (`completion_done`).
    pub(crate) fn is_done(&self) -> bool {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::completion_done(self.inner.get()) }
    }

    /// Waits without a limit, uninterruptibly (`wait_for_completion`).
    pub fn wait(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::wait_for_completion(self.inner.get()) };
    }

    /// Waits at most `limit`, uninterruptibly (`wait_for_completion_timeout`). Returns false
    /// if the time passed.
    pub fn wait_timeout(&self, limit: Delta) -> bool {
        let limit = super::jiffies(limit);

        // SAFETY: Initialised in `new`.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), limit) != 0 }
    }

    /// Waits at most `limit` or until a fatal signal (`wait_for_completion_killable_timeout`).
    /// Returns false if the time passed.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task is being killed.
    pub fn wait_killable_timeout(&self, limit: Delta) -> Result<bool> {
        let limit = super::jiffies(limit);

        // SAFETY: Initialised in `new`.
        outcome(unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), limit) })
    }
}

/// Converts the result of a wait with a timeout: jiffies left, 0 or an errno.
fn outcome(left: kernel::ffi::c_long) -> Result<bool> {
    match i32::try_from(left) {
        Ok(errno) if errno < 0 => Err(Error::from_errno(errno)),
        _ => Ok(left != 0),
    }
}
