// SPDX-License-Identifier: GPL-2.0-only

//! Whether hardware can still access the memory of a set of operations.
//!
//! ```text
//!   open, kept by n queue pairs  --- the last one leaves --->  being given back
//!            | end, n = 0                                            | given_back
//!            +------------------------->  ended  <-------------------+
//! ```
//!
//! An operation of a set can be posted only on queue pairs that keep the set. A queue pair
//! leaves once it is destroyed and no completion of it is going to be handled. So an operation
//! that is in flight when the last queue pair leaves would be so forever, and is given back. No
//! queue pair can keep the set after that.

use crate::atomic::{
    AtomicU32,
    Ordering::{
        AcqRel,
        Acquire,
        Release, //
    }, //
};

/// The other bits count queue pairs. They are 0 in these two states.
const GIVING_BACK: u32 = 1 << 31;
const ENDED: u32 = 1 << 30;
const MAX_KEEPERS: u32 = ENDED - 1;

/// The state of a set of operations.
#[derive(Debug)]
pub struct OpSetState(AtomicU32);

impl Default for OpSetState {
    fn default() -> Self {
        Self::new()
    }
}

impl OpSetState {
    /// Creates the state of a set that no queue pair keeps yet.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Counts one more queue pair. Returns false if the set has ended, or is about to.
    pub fn keep(&self) -> bool {
        let mut now = self.0.load(Acquire);
        while now < MAX_KEEPERS {
            match self.0.compare_exchange(now, now + 1, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
        false
    }

    /// Counts one queue pair less. Returns whether it was the last one: the caller must then give
    /// back what is in flight, and call [`OpSetState::given_back`].
    #[must_use]
    pub fn leave(&self) -> bool {
        let mut now = self.0.load(Acquire);
        loop {
            let (next, last) = match now {
                1 => (GIVING_BACK, true),
                2..=MAX_KEEPERS => (now - 1, false),
                // It has no queue pair that could leave.
                _ => return false,
            };
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return last,
                Err(seen) => now = seen,
            }
        }
    }

    /// What was in flight was given back.
    pub fn given_back(&self) {
        self.0.store(ENDED, Release);
    }

    /// Ends a set that no queue pair keeps. Returns false, and changes nothing, while one does.
    pub fn end(&self) -> bool {
        match self.0.compare_exchange(0, ENDED, AcqRel, Acquire) {
            Ok(_) => true,
            Err(now) => now == ENDED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_ends_when_its_last_queue_pair_has_left_and_all_is_given_back() {
        let set = OpSetState::new();
        assert!(set.keep());
        assert!(set.keep());
        assert!(!set.end(), "kept by two");
        assert!(!set.leave(), "the first of two");
        assert!(!set.end(), "kept by one");
        assert!(set.leave(), "the last one");
        assert!(!set.end(), "not given back yet");
        assert!(!set.keep(), "too late");
        set.given_back();
        assert!(set.end());
        assert!(set.end(), "ended already");
        assert!(!set.keep(), "ended");
        assert!(!set.leave(), "nothing is given back twice");
    }

    #[test]
    fn a_set_that_was_never_kept_ends_at_once() {
        let set = OpSetState::new();
        assert!(set.end());
        assert!(!set.keep());
    }

    #[test]
    fn queue_pairs_that_leave_at_the_same_time_give_back_once() {
        let set = OpSetState::new();
        let count = 8;
        for _ in 0..count {
            assert!(set.keep());
        }
        let last = std::thread::scope(|scope| {
            let left: Vec<_> = (0..count).map(|_| scope.spawn(|| set.leave())).collect();
            let left = left.into_iter().map(|thread| thread.join());
            left.filter(|last| matches!(last, Ok(true))).count()
        });
        assert_eq!(last, 1);
    }
}
