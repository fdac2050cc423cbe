// SPDX-License-Identifier: GPL-2.0-only

//! How far the set-up of a path is.

use core::sync::atomic::{
    AtomicUsize,
    Ordering::Relaxed, //
};

use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

/// Progress of a set-up.
///
/// Only completions of the control connection, which run one at a time, advance it.
pub(in crate::server) struct SetupProgress {
    /// When the client asked for the path.
    began: Instant<Monotonic>,
    /// Number of chunks whose registration was posted.
    posted: AtomicUsize,
    /// Number of chunks that are registered.
    registered: AtomicUsize,
}

impl SetupProgress {
    /// Starts now.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            posted: AtomicUsize::new(0),
            registered: AtomicUsize::new(0),
        }
    }

    /// Returns the time since the client asked for the path.
    pub(in crate::server) fn elapsed(&self) -> Delta {
        self.began.elapsed()
    }

    /// Returns the index of the next chunk to register, which may be beyond the last one.
    pub(in crate::server) fn next_to_post(&self) -> usize {
        self.posted.fetch_add(1, Relaxed)
    }

    /// Records that a chunk was registered. Returns the number of registered chunks.
    pub(in crate::server) fn registered(&self) -> usize {
        self.registered.fetch_add(1, Relaxed) + 1
    }
}
