// SPDX-License-Identifier: GPL-2.0-only

//! Work that the kernel may need done before it can free memory.
//!
//! A block device that waits for its path keeps pages dirty. If making the path anew
//! waited in turn for such pages to be written, nothing would ever go on.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use kernel::types::NotThreadSafe;

use crate::bindings;

/// While it lives, no allocation of this task waits for I/O, whatever its flags say.
///
/// That holds for what is called below as well, such as a driver of an RDMA device that
/// makes a queue pair. May be nested.
#[must_use = "it ends when it is dropped"]
pub struct NoIoScope {
    /// Whether it was so before.
    was_set: bool,
    _of_this_task: NotThreadSafe,
}

impl NoIoScope {
    /// From here on.
    pub fn begin() -> Self {
        // SAFETY: No more than a register is read.
        let task = unsafe { bindings::get_current() };

        // SAFETY: The task that runs is valid, and nobody else changes its flags.
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

        // SAFETY: As in `begin`; an object that cannot be sent is dropped by its task.
        unsafe { (*bindings::get_current()).flags &= !bindings::PF_MEMALLOC_NOIO };
    }
}
