// SPDX-License-Identifier: GPL-2.0-only

//! The monotonic clock.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use crate::bindings;

/// Returns the monotonic time in nanoseconds (`ktime_get`). From any context but an NMI.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: May be called from any context but an NMI, in which no code of these modules runs.
    let now = unsafe { bindings::ktime_get() };

    // Never negative.
    now.unsigned_abs()
}
