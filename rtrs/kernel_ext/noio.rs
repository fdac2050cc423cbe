// SPDX-License-Identifier: GPL-2.0-only

//! Allocations that must not wait for I/O.
//!
//! A block device that waits for its path keeps pages dirty. If an allocation of the reconnect
//! waited for such pages to be written, neither would ever continue.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use kernel::types::NotThreadSafe;

use crate::bindings;

/// A scope in which no allocation of this task waits for I/O, whatever its flags are
/// (`memalloc_noio_save`).
///
/// This includes allocations of called functions, such as those of an RDMA driver that
/// creates a queue pair. Scopes may be nested.
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct NoIoScope {
    /// Whether the flag was set before.
    was_set: bool,
    _of_this_task: NotThreadSafe,
}

impl NoIoScope {
    /// Begins the scope.
    pub(crate) fn begin() -> Self {
        // SAFETY: Only reads a per-CPU variable.
        let task = unsafe { bindings::get_current() };

        // SAFETY: The current task is valid, and only the task itself changes its flags.
        let was_set = unsafe {
            let before = (*task).flags;
            (*task).flags = before | bindings::PF_MEMALLOC_NOIO;
            before & bindings::PF_MEMALLOC_NOIO != 0
        };

        Self {
            was_set,
            _of_this_task: NotThreadSafe,
        }
    }
}

impl Drop for NoIoScope {
    fn drop(&mut self) {
        if self.was_set {
            return;
        }

        // SAFETY: As in `begin`; the object is not `Send`, so its own task drops it.
        unsafe { (*bindings::get_current()).flags &= !bindings::PF_MEMALLOC_NOIO };
    }
}
