// SPDX-License-Identifier: GPL-2.0-only

//! Check of the progress that a send queue makes.

use crate::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

/// Progress of a queue since the last check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueProgress {
    /// Nothing is outstanding, or work requests were posted or have completed.
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

/// The credits of a queue at a check.
pub(super) struct Snapshot {
    pub(super) capacity: u32,
    pub(super) free: u32,
    /// How often credits were released; wraps around.
    pub(super) releases: u32,
    pub(super) set_aside: u32,
    pub(super) deferred: u32,
    pub(super) nop_in_flight: bool,
}

/// What the last check found. Checks must not overlap.
#[derive(Debug)]
pub(super) struct LastCheck {
    free: AtomicU32,
    releases: AtomicU32,
    /// Checks in a row that found the NOP in flight and no credits released.
    stalled_checks: AtomicU32,
}

impl LastCheck {
    /// Creates that of a queue of which all `capacity` credits are free.
    pub(super) const fn new(capacity: u32) -> Self {
        Self {
            free: AtomicU32::new(capacity),
            releases: AtomicU32::new(0),
            stalled_checks: AtomicU32::new(0),
        }
    }

    /// Records that a NOP took a credit because of this check.
    pub(super) fn nop_posted(&self) {
        let free = self.free.load(Relaxed);
        self.free.store(free.saturating_sub(1), Relaxed);
    }

    /// Returns the progress since the last check, which `now` becomes.
    pub(super) fn compare(&self, now: &Snapshot) -> QueueProgress {
        let last_free = self.free.swap(now.free, Relaxed);
        // The number of free credits alone does not tell: when both peers check at the same
        // moment, as many may be outstanding at each check.
        let released = self.releases.swap(now.releases, Relaxed) != now.releases;
        let idle = now.free.saturating_add(now.set_aside);
        let stalled_checks = match now.nop_in_flight && !released {
            true => self.stalled_checks.load(Relaxed).saturating_add(1),
            false => 0,
        };
        self.stalled_checks.store(stalled_checks, Relaxed);

        if stalled_checks >= MAX_STALLED_CHECKS {
            QueueProgress::Dead
        } else if idle == now.capacity || released || now.free != last_free {
            QueueProgress::Moving
        } else if idle.saturating_add(now.deferred) == now.capacity {
            QueueProgress::OnlyDeferred
        } else {
            QueueProgress::Stalled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sq_credits::SqCredits;

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
    fn a_queue_with_as_many_outstanding_at_each_check_is_moving() {
        let credits = SqCredits::new(9);
        for _ in 0..10 {
            assert!(credits.reserve(1));
            assert_eq!(credits.check_progress(), QueueProgress::Moving);
            credits.release(1);
        }
        assert!(credits.reserve(1));
        assert_eq!(credits.check_progress(), QueueProgress::Moving);
        // Posts that fail are no progress.
        assert!(credits.reserve(1));
        credits.unreserve(1);
        assert_eq!(credits.check_progress(), QueueProgress::Stalled);
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
}
