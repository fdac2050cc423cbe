// SPDX-License-Identifier: GPL-2.0-only

//! Completions that can be waited for with an end.
//!
//! The kernel crate's `Completion` waits for ever only.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use kernel::error::to_result;
use kernel::prelude::*;
use kernel::time::Delta;
use kernel::types::Opaque;

use crate::bindings;

/// An event that is waited for.
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
    /// Creates a completion that has not happened.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes and stays in place.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Lets one waiter go on, the present one or the next. From any context.
    pub fn complete(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Lets all waiters go on, also those to come. From any context.
    pub fn complete_all(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Makes it an event that has not happened, to be used once more.
    ///
    /// To be called when nobody waits or completes; the outcome for those who do
    /// is undetermined, though memory safe.
    pub fn reinit(&self) {
        // SAFETY: Initialised in `new`. The counter is an integer that waiters
        // and completers access under their lock and tolerate any value of.
        unsafe { (&raw mut (*self.inner.get()).done).write_volatile(0) };
    }

    /// Whether a wait would end at once.
    pub fn is_done(&self) -> bool {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::completion_done(self.inner.get()) }
    }

    /// Waits without end, not to be interrupted.
    pub fn wait(&self) {
        // SAFETY: Initialised in `new`.
        unsafe { bindings::wait_for_completion(self.inner.get()) };
    }

    /// Waits at most `limit`, not to be interrupted. False if that passed.
    pub fn wait_timeout(&self, limit: Delta) -> bool {
        let limit = super::jiffies(limit);

        // SAFETY: Initialised in `new`.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), limit) != 0 }
    }

    /// Waits without end, but for a fatal signal.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task is being killed.
    pub fn wait_killable(&self) -> Result {
        // SAFETY: Initialised in `new`.
        to_result(unsafe { bindings::wait_for_completion_killable(self.inner.get()) })
    }

    /// Waits at most `limit`, but for a fatal signal. False if the time passed.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task is being killed.
    pub fn wait_killable_timeout(&self, limit: Delta) -> Result<bool> {
        let limit = super::jiffies(limit);

        // SAFETY: Initialised in `new`.
        outcome(unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), limit) })
    }

    /// Waits at most `limit`, but for a signal. False if the time passed.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task has a signal to handle.
    pub fn wait_interruptible_timeout(&self, limit: Delta) -> Result<bool> {
        let limit = super::jiffies(limit);

        // SAFETY: Initialised in `new`.
        outcome(unsafe {
            bindings::wait_for_completion_interruptible_timeout(self.inner.get(), limit)
        })
    }
}

/// Reads what a wait with a timeout returned: jiffies left, 0 or an errno.
fn outcome(left: kernel::ffi::c_long) -> Result<bool> {
    match i32::try_from(left) {
        Ok(errno) if errno < 0 => Err(Error::from_errno(errno)),
        _ => Ok(left != 0),
    }
}
