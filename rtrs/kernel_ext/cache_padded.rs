// SPDX-License-Identifier: GPL-2.0-only

//! Values on cache lines of their own.

use core::ops::Deref;

/// A value that shares no cache line with others: those that all CPUs read stay in their caches
/// when this one is written (`____cacheline_aligned`).
// Processors may fetch two adjacent lines at once.
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
