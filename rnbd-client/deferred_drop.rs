// SPDX-License-Identifier: GPL-2.0-only

//! Dropping a value in a worker, as that may take long.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rtrs::kernel_ext::{
    completion::Completion,
    workqueue::WorkqueueHandle, //
};

/// Drops `value` in a worker of `queue`, and waits for that for at most `limit`, or until the
/// task is killed. Returns whether it is dropped. Without memory for this, drops it at once.
pub(crate) fn drop_within<T: Send + 'static>(
    queue: &WorkqueueHandle,
    value: T,
    limit: Delta,
) -> bool {
    let Ok(dropped) = Arc::pin_init(Completion::new(), GFP_KERNEL) else {
        drop(value);
        return true;
    };
    let job = {
        let dropped = dropped.clone();
        move || {
            drop(value);
            dropped.complete_all();
        }
    };
    // A job that cannot be queued is dropped by `spawn`, and `value` with it.
    queue.spawn(job).is_err() || matches!(dropped.wait_killable_timeout(limit), Ok(true))
}
