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
//! brings deferred credits back, and shows whether the device still makes progress.

use crate::atomic::{
    AtomicU32,
    Ordering::{
        Acquire,
        Relaxed,
        Release, //
    }, //
};

/// Progress of a queue since the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueProgress {
    /// Nothing is outstanding, or the number of free credits has changed.
    Moving,
    /// No change, but only work requests with deferred credits are outstanding.
    OnlyDeferred,
    /// No change.
    Stalled,
    /// No credits, and not even a NOP, came back during [`MAX_STALLED_CHECKS`] checks: the queue
    /// does not work any more.
    Dead,
}

/// Number of checks in a row, without any credit coming back, after which a queue is dead. With
/// a check every 5 s that is as long as a peer may be silent.
const MAX_STALLED_CHECKS: u32 = 6;

/// The credits of one send queue.
///
/// # Invariants
///
/// Free, set aside, deferred and outstanding credits, and those of the NOP, add up to
/// `capacity`.
#[derive(Debug)]
pub struct SqCredits {
    capacity: u32,
    free: AtomicU32,
    /// Reserved for work requests that will be posted after the response of a peer.
    set_aside: AtomicU32,
    deferred: AtomicU32,
    /// Credits that the NOP will release, its own included; 0 if none is in flight.
    nop: AtomicU32,
    /// Free credits at the last check.
    last_free: AtomicU32,
    /// Checks in a row that found the NOP in flight and no credits released.
    stalled_checks: AtomicU32,
}

impl SqCredits {
    /// Creates the credits of a queue of `capacity` work requests.
    pub const fn new(capacity: u32) -> Self {
        Self {
            capacity,
            free: AtomicU32::new(capacity),
            set_aside: AtomicU32::new(0),
            deferred: AtomicU32::new(0),
            nop: AtomicU32::new(0),
            last_free: AtomicU32::new(capacity),
            stalled_checks: AtomicU32::new(0),
        }
    }

    /// Reserves `wrs` credits. Returns false, and reserves none, if there are not enough.
    #[inline]
    pub fn reserve(&self, wrs: u32) -> bool {
        self.free
            .fetch_update(Acquire, Relaxed, |free| free.checked_sub(wrs))
            .is_ok()
    }

    /// Releases reserved credits.
    #[inline]
    pub fn release(&self, wrs: u32) {
        if wrs > 0 {
            self.free.fetch_add(wrs, Release);
        }
    }

    /// Sets `wrs` reserved credits aside for later: no work request is outstanding for them yet.
    #[inline]
    pub fn set_aside(&self, wrs: u32) {
        if wrs > 0 {
            self.set_aside.fetch_add(wrs, Relaxed);
        }
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
        if wrs > 0 {
            self.deferred.fetch_add(wrs, Release);
        }
    }

    /// Returns whether there are fewer free credits than `low_watermark`. Then the next work
    /// request should be signaled, to bring deferred credits back.
    #[inline]
    pub fn is_below(&self, low_watermark: u32) -> bool {
        self.free.load(Relaxed) < low_watermark
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
        let last_free = self.last_free.load(Relaxed);
        self.last_free.store(last_free.saturating_sub(1), Relaxed);
    }

    /// Checks the progress since the last check, some seconds ago. Calls must not overlap.
    pub fn check_progress(&self) -> QueueProgress {
        let free = self.free.load(Relaxed);
        let last_free = self.last_free.swap(free, Relaxed);
        let idle = free.saturating_add(self.set_aside.load(Relaxed));
        let is_stalled = self.nop.load(Relaxed) != 0 && free <= last_free;
        let stalled_checks = match is_stalled {
            true => self.stalled_checks.load(Relaxed).saturating_add(1),
            false => 0,
        };
        self.stalled_checks.store(stalled_checks, Relaxed);

        if stalled_checks >= MAX_STALLED_CHECKS {
            QueueProgress::Dead
        } else if idle == self.capacity || free != last_free {
            QueueProgress::Moving
        } else if idle.saturating_add(self.deferred.load(Relaxed)) == self.capacity {
            QueueProgress::OnlyDeferred
        } else {
            QueueProgress::Stalled
        }
    }
}

/// Size of the send queue of a server's connection, which may carry the responses to all
/// requests of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCredits {
    /// Work requests that the queue holds.
    pub capacity: u32,
    /// Below so many free credits, responses are signaled, see [`SqCredits::is_below`].
    pub low_watermark: u32,
}

impl ResponseCredits {
    /// Largest number of work requests for one request: invalidation of the server's key, then
    /// data, invalidation of the client's key, registration and response.
    const WITH_NEW_RKEY: u32 = 5;

    /// The same without a key of the server.
    const WITHOUT_NEW_RKEY: u32 = 3;

    /// Returns the size for a session of `depth` requests, with one more work request.
    ///
    /// With `new_rkey`, the invalidation after the last response of a chunk must complete before
    /// the next one is posted, so at most the credits of one request are deferred for each chunk.
    ///
    /// Without it there may be no signaled work request at all. Once the free credits are below
    /// the low watermark responses are signaled, and until the first of them completes there must
    /// be credits for a response to each request. The watermark is somewhat higher, as several
    /// senders may check it at the same moment.
    pub const fn new(depth: u32, new_rkey: bool) -> Self {
        let capacity = depth.saturating_mul(Self::WITH_NEW_RKEY).saturating_add(1);
        let low_watermark = match new_rkey {
            true => capacity / 2,
            false => depth
                .saturating_mul(Self::WITHOUT_NEW_RKEY)
                .saturating_add(depth / 2)
                .saturating_add(Self::WITHOUT_NEW_RKEY),
        };
        Self {
            capacity,
            low_watermark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn no_more_credits_are_reserved_than_there_are() {
        let credits = SqCredits::new(5);
        assert!(credits.reserve(3));
        assert!(!credits.reserve(3));
        assert!(credits.reserve(2), "a failure reserves nothing");
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

    /// Returns the number of checks until the queue is dead, posting a NOP when it is stalled.
    fn checks_until_dead(credits: &SqCredits, mut before: impl FnMut(u32)) -> Option<u32> {
        (1..=100).find(|number| {
            before(*number);
            let progress = credits.check_progress();
            if progress == QueueProgress::Stalled {
                // Whether or not the previous one has completed.
                let _ = credits.begin_nop();
                assert!(credits.reserve(1));
                credits.nop_posted();
            }
            progress == QueueProgress::Dead
        })
    }

    #[test]
    fn a_queue_that_releases_no_credits_is_dead_in_the_end() {
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        // It is stalled after two checks.
        assert_eq!(
            checks_until_dead(&credits, |_| ()),
            Some(2 + MAX_STALLED_CHECKS)
        );

        // Posts are not taken for progress.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        let posted = checks_until_dead(&credits, |number| {
            assert!(number == 2 || credits.reserve(1))
        });
        assert_eq!(posted, Some(2 + MAX_STALLED_CHECKS));
    }

    #[test]
    fn a_queue_that_is_slow_is_not_dead() {
        // One request completes every five checks, the NOP never does.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        assert_eq!(
            checks_until_dead(&credits, |number| credits
                .release(u32::from(number % 5 == 0))),
            None
        );

        // The NOP completes every four checks.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        let completing = |number| {
            if number % 4 == 0 {
                credits.nop_completed();
            }
        };
        assert_eq!(checks_until_dead(&credits, completing), None);
    }

    #[test]
    fn checks_distinguish_a_queue_of_unsignaled_requests_from_a_stalled_one() {
        let credits = SqCredits::new(9);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "nothing is outstanding"
        );
        assert!(credits.reserve(2));
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "the number has changed"
        );
        assert_eq!(credits.check_progress(), QueueProgress::Stalled);
        credits.defer(2);
        assert_eq!(credits.check_progress(), QueueProgress::OnlyDeferred);
        assert!(credits.reserve(1));
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Stalled,
            "one is not deferred"
        );
        credits.release(3);
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
    }

    #[test]
    fn a_queue_that_waits_for_its_peer_is_not_stalled() {
        let credits = SqCredits::new(9);
        assert!(credits.reserve(3));
        credits.set_aside(1);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "the number has changed"
        );
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Stalled,
            "two are outstanding"
        );
        credits.defer(2);
        assert_eq!(credits.check_progress(), QueueProgress::OnlyDeferred);
        credits.release(credits.take_deferred());
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "the number has changed"
        );
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "only the peer is waited for"
        );
        credits.use_set_aside(1);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Stalled,
            "what follows its response is outstanding"
        );
        credits.release(1);
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
    }

    proptest! {
        /// There are always credits for a response, even if the queue is slower than the server:
        /// with keys of the server, whose invalidations are signaled, and without.
        #[test]
        fn responses_always_find_credits(
            depth in 1..40_u32,
            new_rkey: bool,
            steps in prop::collection::vec((0..40_usize, 1..=3_u32, any::<bool>()), 1..400),
        ) {
            let size = ResponseCredits::new(depth, new_rkey);
            let credits = SqCredits::new(size.capacity);
            let mut queue = VecDeque::new();
            // Chunks whose last work request is signaled and has not completed.
            let mut busy = vec![false; depth as usize];
            let mut responded = vec![false; depth as usize];
            for (chunk, wrs, completes) in steps {
                let chunk = chunk % busy.len();
                if !busy[chunk] {
                    // The chunk's own key is invalidated first, and its completion awaited.
                    if new_rkey && responded[chunk] {
                        busy[chunk] = true;
                        responded[chunk] = false;
                        prop_assert!(credits.reserve(1), "no credit for an invalidation");
                        queue.push_back((chunk, 1 + credits.take_deferred()));
                    } else {
                        let wrs = wrs + u32::from(new_rkey);
                        busy[chunk] = credits.is_below(size.low_watermark);
                        responded[chunk] = true;
                        prop_assert!(credits.reserve(wrs), "no credits for a response");
                        match busy[chunk] {
                            true => queue.push_back((chunk, wrs + credits.take_deferred())),
                            false => credits.defer(wrs),
                        }
                    }
                }
                if let (true, Some((chunk, wrs))) = (completes, queue.front().copied()) {
                    queue.pop_front();
                    busy[chunk] = false;
                    credits.release(wrs);
                }
            }
        }
    }
}
