// SPDX-License-Identifier: GPL-2.0-only

//! Room in a send queue.
//!
//! A device refuses what is too much for a queue, but perhaps only after it took the
//! first part of a chain of work requests; so room is taken before posting and given
//! back when the device has told the end of a request. Of some it is not asked to tell:
//! their room is *owed* until the end of a later one, as a queue works in order.
//!
//! ```text
//!            take                 give
//!   free ------------> taken ------------> free
//!                        |                  ^
//!                    owe |                  | give
//!                        v      settle      |
//!                      owed ------------> taken over by a later one
//! ```

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Acquire;
use crate::atomic::Ordering::Relaxed;
use crate::atomic::Ordering::Release;

/// What has become of a queue since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueProgress {
    /// Nothing is outstanding, or something has moved.
    Moving,
    /// Nothing has moved, but all that is outstanding is what nobody is told the end of.
    OnlyDeferred,
    /// Nothing has moved.
    Stalled,
    /// Nothing has come back for [`MAX_STALLED_CHECKS`] looks, not even what was posted to see
    /// whether the queue works: it does not, and will not.
    Dead,
}

/// Looks in a row at a queue that gives nothing back, after which it is dead. With one each
/// 5 s it has as long as a peer that is silent.
const MAX_STALLED_CHECKS: u32 = 6;

/// The room of one send queue, in work requests.
///
/// # Invariants
///
/// `free`, `kept`, `owed`, what is passing and what others have taken are `all` together.
#[derive(Debug)]
pub struct SqCredits {
    all: u32,
    free: AtomicU32,
    /// Taken for what is going to be posted once a peer has answered.
    set_aside: AtomicU32,
    deferred: AtomicU32,
    /// What a request that belongs to nobody gives back, itself included; 0: there is none.
    nop: AtomicU32,
    /// What was free at the last look.
    seen: AtomicU32,
    /// Looks since then that found that request, and nothing given back.
    late: AtomicU32,
}

impl SqCredits {
    /// A queue with room for `all` work requests.
    pub const fn new(all: u32) -> Self {
        Self {
            all,
            free: AtomicU32::new(all),
            set_aside: AtomicU32::new(0),
            deferred: AtomicU32::new(0),
            nop: AtomicU32::new(0),
            seen: AtomicU32::new(all),
            late: AtomicU32::new(0),
        }
    }

    /// Takes the room of `wrs`; false, and nothing is taken, if there is not enough.
    #[inline]
    pub fn reserve(&self, wrs: u32) -> bool {
        self.free
            .fetch_update(Acquire, Relaxed, |free| free.checked_sub(wrs))
            .is_ok()
    }

    /// Gives back room that was taken.
    #[inline]
    pub fn release(&self, wrs: u32) {
        if wrs > 0 {
            self.free.fetch_add(wrs, Release);
        }
    }

    /// Of the room that was taken, `wrs` are for later: nothing is outstanding for them.
    #[inline]
    pub fn set_aside(&self, wrs: u32) {
        if wrs > 0 {
            self.set_aside.fetch_add(wrs, Relaxed);
        }
    }

    /// Something is posted in room for `wrs` that was kept.
    #[inline]
    pub fn use_set_aside(&self, wrs: u32) {
        if wrs > 0 {
            self.set_aside.fetch_sub(wrs, Relaxed);
        }
    }

    /// Nobody will be told the end of `wrs` whose room was taken. To be called after
    /// they were posted, so that whoever sees the debt posts behind them.
    #[inline]
    pub fn defer(&self, wrs: u32) {
        if wrs > 0 {
            self.deferred.fetch_add(wrs, Release);
        }
    }

    /// Whether there is less room than `reserve`: somebody should be told the end of the
    /// next request, so that what is owed comes back.
    #[inline]
    pub fn is_below(&self, reserve: u32) -> bool {
        self.free.load(Relaxed) < reserve
    }

    /// Takes all that is owed over, to be given with the end of what the caller is going
    /// to post.
    #[inline]
    pub fn take_deferred(&self) -> u32 {
        match self.deferred.load(Relaxed) {
            0 => 0,
            _ => self.deferred.swap(0, Acquire),
        }
    }

    /// Takes what is owed over for a request that belongs to nobody; false if the one
    /// before it has not ended yet.
    pub fn begin_nop(&self) -> bool {
        if self.nop.load(Relaxed) != 0 {
            return false;
        }
        let owed = self.take_deferred();
        self.nop.store(owed.saturating_add(1), Relaxed);
        true
    }

    /// The request that [`Self::begin_nop`] was called for could not be posted.
    pub fn nop_failed(&self) {
        self.defer(self.nop.swap(0, Relaxed).saturating_sub(1));
    }

    /// The request that [`Self::begin_nop`] was called for has ended. Not another one: it may
    /// have been posted before what is owed.
    pub fn nop_completed(&self) {
        self.release(self.nop.swap(0, Relaxed));
    }

    /// Something was posted because of the last look, which is no sign that anything moves.
    pub fn nop_posted(&self) {
        let seen = self.seen.load(Relaxed);
        self.seen.store(seen.saturating_sub(1), Relaxed);
    }

    /// Looks whether anything has moved since the last look, which was some seconds ago.
    /// One at a time.
    pub fn check_progress(&self) -> QueueProgress {
        let free = self.free.load(Relaxed);
        let seen = self.seen.swap(free, Relaxed);
        let idle = free.saturating_add(self.set_aside.load(Relaxed));
        let waits = self.nop.load(Relaxed) != 0 && free <= seen;
        let late = match waits {
            true => self.late.load(Relaxed).saturating_add(1),
            false => 0,
        };
        self.late.store(late, Relaxed);

        if late >= MAX_STALLED_CHECKS {
            QueueProgress::Dead
        } else if idle == self.all || free != seen {
            QueueProgress::Moving
        } else if idle.saturating_add(self.deferred.load(Relaxed)) == self.all {
            QueueProgress::OnlyDeferred
        } else {
            QueueProgress::Stalled
        }
    }
}

/// How large the send queue of a server's connection is, on which all of a session's
/// requests may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCredits {
    /// Work requests that the queue holds.
    pub capacity: u32,
    /// Below so many free credits, responses are signaled, see [`SqCredits::is_below`].
    pub low_watermark: u32,
}

impl ResponseCredits {
    /// Work requests of one request: invalidation of the server's key, then data,
    /// invalidation of the client's key, registration and answer.
    const MOST: u32 = 5;

    /// The same without a key of the server.
    const PLAIN: u32 = 3;

    /// For a session with `depth` requests, and one work request more.
    ///
    /// With `new_rkey`, a request is not answered before the invalidation that follows the
    /// last answer there has ended: no more than what is of one request is owed for each.
    /// Without it nothing need ever settle what is owed, so that when an answer has to,
    /// there must be room for one of that kind to every request until the first has ended.
    /// Some more, as several may find room at the same moment.
    pub const fn new(depth: u32, new_rkey: bool) -> Self {
        let capacity = depth.saturating_mul(Self::MOST).saturating_add(1);
        let low_watermark = match new_rkey {
            true => capacity / 2,
            false => depth
                .saturating_mul(Self::PLAIN)
                .saturating_add(depth / 2)
                .saturating_add(Self::PLAIN),
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
    fn no_more_is_taken_than_there_is() {
        let credits = SqCredits::new(5);
        assert!(credits.reserve(3));
        assert!(!credits.reserve(3));
        assert!(credits.reserve(2), "a refusal takes nothing");
        credits.release(3);
        assert!(credits.reserve(3));
        assert!(!credits.reserve(1));
    }

    #[test]
    fn room_is_low_before_it_is_out() {
        let credits = SqCredits::new(9);
        assert!(credits.reserve(5));
        assert!(!credits.is_below(4));
        assert!(credits.reserve(1));
        assert!(credits.is_below(4));
        credits.defer(6);
        assert!(credits.is_below(4), "owed is not free");
        credits.release(credits.take_deferred());
        assert!(!credits.is_below(4));
    }

    #[test]
    fn what_is_owed_comes_back_with_a_later_request_and_not_before() {
        let credits = SqCredits::new(4);
        assert!(credits.reserve(3));
        credits.defer(3);
        assert!(!credits.reserve(2), "owed is not free");
        assert!(credits.reserve(1));
        let debt = credits.take_deferred();
        assert_eq!((debt, credits.take_deferred()), (3, 0), "taken over once");
        assert!(!credits.reserve(1));
        credits.release(1 + debt);
        assert!(credits.reserve(4));
    }

    #[test]
    fn a_request_of_nobody_brings_back_what_it_took_over() {
        let credits = SqCredits::new(4);
        assert!(credits.reserve(2));
        credits.defer(2);
        assert!(credits.reserve(1));
        assert!(credits.begin_nop());
        assert!(credits.reserve(1));
        credits.defer(1);
        assert!(!credits.begin_nop(), "one at a time");
        credits.nop_completed();
        assert!(credits.reserve(3), "not what was owed after it");
        assert!(!credits.reserve(1));
    }

    #[test]
    fn a_request_of_nobody_that_was_not_posted_leaves_the_debt() {
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
    fn a_request_of_nobody_that_took_nothing_over_does_not_end_the_next_one() {
        let credits = SqCredits::new(3);
        assert!(credits.begin_nop(), "nothing is owed");
        assert!(credits.reserve(1));
        assert!(credits.reserve(2));
        credits.defer(2);
        assert!(!credits.begin_nop(), "it was posted before them");
        credits.nop_completed();
        assert!(!credits.reserve(2), "only its own room");
        assert!(credits.begin_nop());
        assert!(credits.reserve(1));
        assert!(!credits.reserve(1), "it has not ended");
        credits.nop_completed();
        assert!(credits.reserve(3));
    }

    /// Looks as often as it takes, with a request of nobody posted when that helps.
    fn looks_until_dead(credits: &SqCredits, mut before: impl FnMut(u32)) -> Option<u32> {
        (1..=100).find(|number| {
            before(*number);
            let look = credits.check_progress();
            if look == QueueProgress::Stalled {
                // Whether or not the one before has ended.
                let _ = credits.begin_nop();
                assert!(credits.reserve(1));
                credits.nop_posted();
            }
            look == QueueProgress::Dead
        })
    }

    #[test]
    fn a_queue_that_gives_nothing_back_is_dead_in_the_end() {
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        // Two looks until it is stuck.
        assert_eq!(
            looks_until_dead(&credits, |_| ()),
            Some(2 + MAX_STALLED_CHECKS)
        );

        // Posts do not make it look alive.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        let posted = looks_until_dead(&credits, |number| {
            assert!(number == 2 || credits.reserve(1))
        });
        assert_eq!(posted, Some(2 + MAX_STALLED_CHECKS));
    }

    #[test]
    fn a_queue_that_is_slow_is_not_dead() {
        // One request ends within each five looks, the one of nobody never does.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        assert_eq!(
            looks_until_dead(&credits, |number| credits
                .release(u32::from(number % 5 == 0))),
            None
        );

        // It does after each four looks.
        let credits = SqCredits::new(99);
        assert!(credits.reserve(3));
        let passing = |number| {
            if number % 4 == 0 {
                credits.nop_completed();
            }
        };
        assert_eq!(looks_until_dead(&credits, passing), None);
    }

    #[test]
    fn looks_tell_a_quiet_queue_from_one_that_is_stuck() {
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
            "it has moved"
        );
        assert_eq!(credits.check_progress(), QueueProgress::Stalled);
        credits.defer(2);
        assert_eq!(credits.check_progress(), QueueProgress::OnlyDeferred);
        assert!(credits.reserve(1));
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Stalled,
            "one is not owed"
        );
        credits.release(3);
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
    }

    #[test]
    fn a_queue_that_waits_for_its_peer_is_not_stuck() {
        let credits = SqCredits::new(9);
        assert!(credits.reserve(3));
        credits.set_aside(1);
        assert_eq!(
            credits.check_progress(),
            QueueProgress::Moving,
            "it has moved"
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
            "it has moved"
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
            "what follows its answer is outstanding"
        );
        credits.release(1);
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
    }

    proptest! {
        /// A queue that works in order, and slower than answers are made, never refuses
        /// one: with the keys of a server, whose invalidations are told, and without.
        #[test]
        fn answers_always_find_room(
            depth in 1..40_u32,
            new_rkey: bool,
            steps in prop::collection::vec((0..40_usize, 1..=3_u32, any::<bool>()), 1..400),
        ) {
            let size = ResponseCredits::new(depth, new_rkey);
            let credits = SqCredits::new(size.capacity);
            let mut queue = VecDeque::new();
            // Chunks that are with the device until it has told the end.
            let mut busy = vec![false; depth as usize];
            let mut answered = vec![false; depth as usize];
            for (chunk, wrs, ends) in steps {
                let chunk = chunk % busy.len();
                if !busy[chunk] {
                    // Its own key is invalidated first, and waited for.
                    if new_rkey && answered[chunk] {
                        busy[chunk] = true;
                        answered[chunk] = false;
                        prop_assert!(credits.reserve(1), "no room for an invalidation");
                        queue.push_back((chunk, 1 + credits.take_deferred()));
                    } else {
                        let wrs = wrs + u32::from(new_rkey);
                        busy[chunk] = credits.is_below(size.low_watermark);
                        answered[chunk] = true;
                        prop_assert!(credits.reserve(wrs), "no room for an answer");
                        match busy[chunk] {
                            true => queue.push_back((chunk, wrs + credits.take_deferred())),
                            false => credits.defer(wrs),
                        }
                    }
                }
                if let (true, Some((chunk, wrs))) = (ends, queue.front().copied()) {
                    queue.pop_front();
                    busy[chunk] = false;
                    credits.release(wrs);
                }
            }
        }
    }
}
