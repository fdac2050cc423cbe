// SPDX-License-Identifier: GPL-2.0-only

//! What takes long is done in a worker, and waited for with a limit.

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

/// Runs `job` in a worker of `queue`, and waits for its end for at most `limit`, or until the
/// task is killed. Returns whether it has ended.
///
/// # Errors
///
/// `ENOMEM`, and the job is dropped without having run.
pub(crate) fn run_within(
    queue: &WorkqueueHandle,
    limit: Delta,
    job: impl FnOnce() + Send + 'static,
) -> Result<bool> {
    let ended = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let worker = ended.clone();
    queue.spawn(move || {
        job();
        worker.complete_all();
    })?;
    Ok(matches!(ended.wait_killable_timeout(limit), Ok(true)))
}

/// Drops `value` in a worker of `queue`, and waits for that as [`run_within`]. Returns whether it
/// is dropped. Without memory for this, drops it at once.
pub(crate) fn drop_within<T: Send + 'static>(
    queue: &WorkqueueHandle,
    value: T,
    limit: Delta,
) -> bool {
    // A job that cannot be queued is dropped, and `value` with it.
    run_within(queue, limit, move || drop(value)).unwrap_or(true)
}
