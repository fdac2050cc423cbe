// SPDX-License-Identifier: GPL-2.0-only

//! Credits of a send queue: one for each work request that it has space for.
//!
//! A device refuses work requests beyond the size of a queue, but perhaps only after it has
//! accepted the first ones of a chain. So a sender reserves credits before it posts, and
//! releases them when the device reports the completion. Some work requests are not signaled:
//! their credits are *deferred* until a later one completes, as a queue works in order.
//!
//! ```text
//!           reserve                 release
//!   free -----------> outstanding -----------> free
//!                        |                      ^
//!                  defer |                      | release
//!                        v    take_deferred     |
//!                     deferred ------> added to a later work request
//! ```
//!
//! A *NOP*, an RDMA write without data, is a signaled work request with no operation. It
//! brings deferred credits back, and shows whether the device still makes [progress].

mod progress;

use crate::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering::{
        self,
        Acquire,
        Relaxed,
        Release, //
    }, //
};

use self::progress::{
    LastCheck,
    Snapshot, //
};

pub use self::progress::QueueProgress;

/// One release of credits, in [`SqCredits::free`].
const RELEASE: u64 = 1 << 32;

/// Returns the free credits in a value of [`SqCredits::free`].
#[inline]
const fn free(value: u64) -> u32 {
    // CAST: The lower half.
    value as u32
}

/// Returns how often credits were released, in a value of [`SqCredits::free`]; wraps around.
const fn releases(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The credits of one send queue.
///
/// # Invariants
///
/// Free, set aside, deferred and outstanding credits, and those of the NOP, add up to
/// `capacity`.
#[derive(Debug)]
pub struct SqCredits {
    capacity: u32,
    /// The number of free credits and, in the upper half, how often some were released. Together,
    /// so that counting takes no atomic operation of its own.
    free: AtomicU64,
    /// Reserved for work requests that will be posted after the response of a peer.
    set_aside: AtomicU32,
    deferred: AtomicU32,
    /// Credits that the NOP will release, its own included; 0 if none is in flight.
    nop: AtomicU32,
    last_check: LastCheck,
}

impl SqCredits {
    /// Creates the credits of a queue of `capacity` work requests.
    pub const fn new(capacity: u32) -> Self {
        Self {
            capacity,
            free: AtomicU64::new(capacity as u64),
            set_aside: AtomicU32::new(0),
            deferred: AtomicU32::new(0),
            nop: AtomicU32::new(0),
            last_check: LastCheck::new(capacity),
        }
    }

    /// Reserves `wrs` credits. Returns false, and reserves none, if there are not enough.
    #[inline]
    pub fn reserve(&self, wrs: u32) -> bool {
        self.free
            .fetch_update(Acquire, Relaxed, |now| match free(now) >= wrs {
                true => now.checked_sub(wrs.into()),
                false => None,
            })
            .is_ok()
    }

    /// Returns reserved credits, whose work requests were not posted.
    #[inline]
    pub fn unreserve(&self, wrs: u32) {
        self.free.fetch_add(wrs.into(), Release);
    }

    /// Releases reserved credits, whose work requests have completed.
    #[inline]
    pub fn release(&self, wrs: u32) {
        if wrs > 0 {
            self.free.fetch_add(RELEASE | u64::from(wrs), Release);
        }
    }

    /// Sets `wrs` reserved credits aside for later: no work request is outstanding for them yet.
    #[inline]
    pub fn set_aside(&self, wrs: u32) {
        add(&self.set_aside, wrs, Relaxed);
    }

    /// Uses `wrs` credits that were set aside, for work requests that are posted now.
    #[inline]
    pub fn use_set_aside(&self, wrs: u32) {
        if wrs > 0 {
            self.set_aside.fetch_sub(wrs, Relaxed);
        }
    }

    /// Defers the release of `wrs` credits, whose work requests are not signaled. To be called
    /// after these were posted, so that a caller of [`Self::take_deferred`] posts behind them.
    #[inline]
    pub fn defer(&self, wrs: u32) {
        add(&self.deferred, wrs, Release);
    }

    /// Returns whether there are fewer free credits than `low_watermark`. Then the next work
    /// request should be signaled, to bring deferred credits back.
    #[inline]
    pub fn is_below(&self, low_watermark: u32) -> bool {
        free(self.free.load(Relaxed)) < low_watermark
    }

    /// Returns the number of deferred credits.
    #[inline]
    pub fn deferred(&self) -> u32 {
        self.deferred.load(Relaxed)
    }

    /// Takes all deferred credits. The caller releases them when the work request that it posts
    /// next has completed.
    #[inline]
    pub fn take_deferred(&self) -> u32 {
        match self.deferred.load(Relaxed) {
            0 => 0,
            _ => self.deferred.swap(0, Acquire),
        }
    }

    /// Takes all deferred credits for a NOP. Returns false if the previous one has not completed.
    pub fn begin_nop(&self) -> bool {
        if self.nop.load(Relaxed) != 0 {
            return false;
        }
        let deferred = self.take_deferred();
        self.nop.store(deferred.saturating_add(1), Relaxed);
        true
    }

    /// Returns the credits of the NOP, which could not be posted, to the deferred ones.
    pub fn nop_failed(&self) {
        self.defer(self.nop.swap(0, Relaxed).saturating_sub(1));
    }

    /// Releases the credits of the NOP, which has completed. Only for the one that
    /// [`Self::begin_nop`] was called for: another one may have been posted before the work
    /// requests whose credits were deferred.
    pub fn nop_completed(&self) {
        self.release(self.nop.swap(0, Relaxed));
    }

    /// Records that a NOP was posted because of the last check, so that the next check does not
    /// take it for progress.
    pub fn nop_posted(&self) {
        self.last_check.nop_posted();
    }

    /// Checks the progress since the last check, some seconds ago. Calls must not overlap.
    pub fn check_progress(&self) -> QueueProgress {
        let now = self.free.load(Relaxed);
        self.last_check.compare(&Snapshot {
            capacity: self.capacity,
            free: free(now),
            releases: releases(now),
            set_aside: self.set_aside.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            nop_in_flight: self.nop.load(Relaxed) != 0,
        })
    }
}

/// Adds `wrs` to a number of credits. Does not write if that is 0.
#[inline]
fn add(credits: &AtomicU32, wrs: u32, order: Ordering) {
    if wrs > 0 {
        credits.fetch_add(wrs, order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_credits_are_reserved_than_there_are() {
        let credits = SqCredits::new(5);
        assert!(credits.reserve(3));
        assert!(!credits.reserve(3));
        assert!(credits.reserve(2), "a failure reserves nothing");
        credits.unreserve(2);
        assert!(credits.reserve(2), "what was not posted is free");
        credits.release(3);
        assert!(credits.reserve(3));
        assert!(!credits.reserve(1));
    }

    #[test]
    fn credits_are_low_before_they_are_used_up() {
        let credits = SqCredits::new(9);
        assert!(credits.reserve(5));
        assert!(!credits.is_below(4));
        assert!(credits.reserve(1));
        assert!(credits.is_below(4));
        credits.defer(6);
        assert!(credits.is_below(4), "deferred is not free");
        credits.release(credits.take_deferred());
        assert!(!credits.is_below(4));
    }

    #[test]
    fn deferred_credits_come_back_with_a_later_request_and_not_before() {
        let credits = SqCredits::new(4);
        assert!(credits.reserve(3));
        credits.defer(3);
        assert!(!credits.reserve(2), "deferred is not free");
        assert!(credits.reserve(1));
        let deferred = credits.take_deferred();
        assert_eq!((deferred, credits.take_deferred()), (3, 0), "taken once");
        assert!(!credits.reserve(1));
        credits.release(1 + deferred);
        assert!(credits.reserve(4));
    }

    #[test]
    fn a_nop_brings_back_the_deferred_credits_that_it_took() {
        let credits = SqCredits::new(4);
        assert!(credits.reserve(2));
        credits.defer(2);
        assert!(credits.reserve(1));
        assert!(credits.begin_nop());
        assert!(credits.reserve(1));
        credits.defer(1);
        assert!(!credits.begin_nop(), "one at a time");
        credits.nop_completed();
        assert!(credits.reserve(3), "not those that were deferred after it");
        assert!(!credits.reserve(1));
    }

    #[test]
    fn a_nop_that_was_not_posted_leaves_the_credits_deferred() {
        let credits = SqCredits::new(2);
        assert!(credits.reserve(1));
        credits.defer(1);
        assert!(credits.reserve(1));
        assert!(credits.begin_nop());
        credits.nop_failed();
        credits.release(1);
        assert!(!credits.reserve(2));
        assert_eq!(credits.take_deferred(), 1);
    }

    #[test]
    fn a_nop_without_deferred_credits_does_not_complete_the_next_one() {
        let credits = SqCredits::new(3);
        assert!(credits.begin_nop(), "nothing is deferred");
        assert!(credits.reserve(1));
        assert!(credits.reserve(2));
        credits.defer(2);
        assert!(!credits.begin_nop(), "it was posted before them");
        credits.nop_completed();
        assert!(!credits.reserve(2), "only its own credit");
        assert!(credits.begin_nop());
        assert!(credits.reserve(1));
        assert!(!credits.reserve(1), "it has not completed");
        credits.nop_completed();
        assert!(credits.reserve(3));
    }
}
