// SPDX-License-Identifier: GPL-2.0-only

//! Preemption of the current task.
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use crate::bindings;

/// Calls `f`, which must not sleep, without being preempted by another task.
///
/// For a task that others wait for in a loop: one of a higher priority on the same CPU would
/// otherwise wait for ever.
pub(crate) fn without_preemption<R>(f: impl FnOnce() -> R) -> R {
    /// Ends it.
    struct Disabled;

    impl Drop for Disabled {
        fn drop(&mut self) {
            // SAFETY: Disabled below, by the same task, as `f` does not sleep.
            unsafe { bindings::preempt_enable() };
        }
    }

    // SAFETY: Enabled again by the drop.
    unsafe { bindings::preempt_disable() };
    let _disabled = Disabled;
    f()
}
