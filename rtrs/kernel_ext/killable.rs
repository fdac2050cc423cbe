// SPDX-License-Identifier: GPL-2.0-only

//! Waits of a task that end when the task is killed.
//!
//! The kernel crate's `Mutex` can only be waited for without a limit, uninterruptibly.

use kernel::{
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Mutex, //
    },
    time::Delta, //
};

use pin_init::stack_pin_init;

use crate::bindings;

use super::completion::Completion;

/// Interval between two looks at what is waited for. The waits are those of users of sysfs files.
const INTERVAL: Delta = Delta::from_millis(10);

/// Sleeps for `time`.
///
/// # Errors
///
/// `ERESTARTSYS` when the task is being killed.
pub fn sleep(time: Delta) -> Result {
    stack_pin_init!(let never = Completion::new());
    never.wait_killable_timeout(time).map(drop)
}

/// Takes a lock whose holder may wait for a peer. A worker of the kernel, which cannot be killed,
/// waits in the queue of the lock.
///
/// # Errors
///
/// `ERESTARTSYS` when the task is being killed.
pub fn lock<T>(mutex: &Mutex<T>) -> Result<Guard<'_, T, MutexBackend>> {
    if is_worker() {
        return Ok(mutex.lock());
    }
    poll(|| mutex.try_lock())
}

/// Calls `get` again and again until it returns a value.
///
/// # Errors
///
/// `ERESTARTSYS` when the task is being killed.
pub(crate) fn poll<T>(get: impl Fn() -> Option<T>) -> Result<T> {
    loop {
        if let Some(value) = get() {
            return Ok(value);
        }
        sleep(INTERVAL)?;
    }
}

/// Returns whether the current task is one of the kernel.
fn is_worker() -> bool {
    // SAFETY: The current task is valid, and only the task itself changes its flags.
    unsafe { (*bindings::get_current()).flags & bindings::PF_KTHREAD != 0 }
}
