// SPDX-License-Identifier: GPL-2.0-only

//! What time it is.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use crate::bindings;

/// Nanoseconds since the machine was started, without those it slept.
pub fn now_ns() -> u64 {
    // SAFETY: May be called from any context but an NMI, where no code of ours runs.
    let now = unsafe { bindings::ktime_get() };

    // Never negative.
    now.unsigned_abs()
}
