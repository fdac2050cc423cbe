// SPDX-License-Identifier: GPL-2.0-only

//! The life cycle of an operation that hardware, and perhaps a peer, works on.
//!
//! ```text
//!          begin                launch                     last of
//!  Idle ----------> Held --------------------> In flight ----------> Held
//!    ^                |  ^                     WIRE, ANSWER            |
//!    +----------------+  +------- recall ---------+                   |
//!          release                                   (handed to finish)
//! ```
//!
//! *Held* means that exactly one party has exclusive access to the operation's
//! data. *In flight* means that everybody only reads it, until each of the
//! awaited events has happened once: `WIRE`, the hardware gave the work request
//! back, and `ANSWER`, the peer (or teardown in its place) answered. Whoever
//! brings the last event gets the operation in state *Held*.
//!
//! A flight also counts how often somebody asked for it in vain
//! ([`Flight::overdue`]); each launch begins anew.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::AcqRel;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Release;

const IDLE: u32 = 0;
const HELD: u32 = 1;
const WIRE: u32 = 2;
const ANSWER: u32 = 4;
/// An answer is being recorded: like `ANSWER`, but refused to others.
const ANSWERING: u32 = 8;
const IN_FLIGHT: u32 = WIRE | ANSWER | ANSWERING;
/// The count of periods is above the state, and 0 unless in flight.
const PERIOD: u32 = 0x100;
const MOST_PERIODS: u32 = u32::MAX / PERIOD;

/// What an operation in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    /// That the hardware is done with it.
    Wire,
    /// That, and an answer.
    WireAndAnswer,
    /// An answer only. What the hardware does is taken care of otherwise.
    Answer,
}

impl Await {
    /// Whether the hardware is to tell when it is done.
    pub const fn has_wire(self) -> bool {
        match self {
            Self::Wire | Self::WireAndAnswer => true,
            Self::Answer => false,
        }
    }
}

/// Whether an event was the last one awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller now holds the operation.
    Last,
    /// Others are still at it.
    Pending,
    /// The event was not awaited; nothing changed.
    Refused,
}

/// What became of a launch that is to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The caller holds the operation.
    Held,
    /// An answer is just being recorded: try again.
    Busy,
    /// An answer came, though nothing was sent, and was all that was awaited: the operation
    /// was held by that.
    Gone,
}

/// The state of one operation.
#[derive(Debug)]
pub struct Flight(AtomicU32);

impl Default for Flight {
    fn default() -> Self {
        Self::new()
    }
}

impl Flight {
    /// An idle operation.
    pub const fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Idle to held. False when it is held or in flight.
    pub fn begin(&self) -> bool {
        self.0
            .compare_exchange(IDLE, HELD, Acquire, Acquire)
            .is_ok()
    }

    /// Held to idle. To be called by the holder only.
    pub fn release(&self) {
        self.0.store(IDLE, Release);
    }

    /// Held to in flight. To be called by the holder only.
    pub fn launch(&self, awaited: Await) {
        let bits = match awaited {
            Await::Wire => WIRE,
            Await::WireAndAnswer => WIRE | ANSWER,
            Await::Answer => ANSWER,
        };
        self.0.store(bits, Release);
    }

    /// In flight back to held, for a launch that the hardware did not take. To be called
    /// by who launched.
    pub fn recall(&self) -> Recall {
        let mut now = self.0.load(Acquire);
        loop {
            if now & IN_FLIGHT == 0 {
                return Recall::Gone;
            }
            if now & ANSWERING != 0 {
                return Recall::Busy;
            }
            match self.0.compare_exchange(now, HELD, AcqRel, Acquire) {
                Ok(_) => return Recall::Held,
                Err(seen) => now = seen,
            }
        }
    }

    /// The hardware gave the work request back.
    pub fn wire_done(&self) -> Outcome {
        self.clear(WIRE)
    }

    /// An answer came. When true, [`Flight::answered`] must follow.
    pub fn begin_answer(&self) -> bool {
        let mut now = self.0.load(Acquire);
        loop {
            if now & ANSWER == 0 {
                return false;
            }
            let next = now & !ANSWER | ANSWERING;
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    /// The answer that began is recorded.
    pub fn answered(&self) -> Outcome {
        self.clear(ANSWERING)
    }

    /// It should have been back by now, for one more period: for how many periods
    /// since its launch? `None` when it is not in flight.
    ///
    /// The count stops at some millions.
    pub fn overdue(&self) -> Option<u32> {
        let mut now = self.0.load(Acquire);
        loop {
            let periods = now / PERIOD;
            if now & IN_FLIGHT == 0 {
                return None;
            }
            if periods == MOST_PERIODS {
                return Some(periods);
            }
            match self.0.compare_exchange(now, now + PERIOD, AcqRel, Acquire) {
                Ok(_) => return Some(periods + 1),
                Err(seen) => now = seen,
            }
        }
    }

    /// Whether it is neither held nor in flight, at this moment.
    pub fn is_idle(&self) -> bool {
        self.0.load(Acquire) == IDLE
    }

    fn clear(&self, bit: u32) -> Outcome {
        let mut now = self.0.load(Acquire);
        loop {
            if now & bit == 0 {
                return Outcome::Refused;
            }
            let last = now & IN_FLIGHT == bit;
            let next = if last { HELD } else { now & !bit };
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) if last => return Outcome::Last,
                Ok(_) => return Outcome::Pending,
                Err(seen) => now = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_wire_and_answer_holds_the_operation_in_either_order() {
        for answer_first in [false, true] {
            let f = Flight::new();
            assert!(f.begin());
            assert!(!f.begin(), "held twice");
            f.launch(Await::WireAndAnswer);
            let (first, second) = if answer_first {
                assert!(f.begin_answer());
                (f.answered(), f.wire_done())
            } else {
                let wire = f.wire_done();
                assert!(f.begin_answer());
                (wire, f.answered())
            };
            assert_eq!((first, second), (Outcome::Pending, Outcome::Last));
            assert!(!f.begin(), "the last event holds it");
            f.release();
            assert!(f.begin());
        }
    }

    #[test]
    fn an_answer_alone_holds_the_operation_where_only_that_is_awaited() {
        let f = Flight::new();
        assert!(f.begin());
        f.launch(Await::Answer);
        assert_eq!(f.wire_done(), Outcome::Refused);
        assert!(!f.begin(), "in flight");
        assert_eq!(f.overdue(), Some(1));
        assert!(f.begin_answer());
        assert_eq!(f.answered(), Outcome::Last);
        f.launch(Await::Wire);
        assert!(!f.begin_answer(), "was answered");
        assert_eq!(f.wire_done(), Outcome::Last);
        f.launch(Await::Answer);
        assert_eq!(f.recall(), Recall::Held, "not taken by the hardware");
        f.release();
        assert!(f.is_idle());
    }

    #[test]
    fn a_launch_that_was_answered_before_it_could_be_recalled_is_gone() {
        let f = Flight::new();
        assert!(f.begin());
        f.launch(Await::Answer);
        assert!(f.begin_answer());
        assert_eq!(f.recall(), Recall::Busy);
        assert_eq!(f.answered(), Outcome::Last);
        assert_eq!(f.recall(), Recall::Gone, "held by the answer");
        f.release();
        assert_eq!(f.recall(), Recall::Gone);
        assert!(f.is_idle());
    }

    #[test]
    fn answers_that_nobody_awaits_are_refused() {
        let f = Flight::new();
        assert!(!f.begin_answer(), "idle");
        assert!(f.begin());
        assert!(!f.begin_answer(), "held");
        f.launch(Await::Wire);
        assert!(!f.begin_answer(), "not awaited");
        assert_eq!(f.wire_done(), Outcome::Last);
        assert_eq!(f.wire_done(), Outcome::Refused);
        f.launch(Await::WireAndAnswer);
        assert!(f.begin_answer());
        assert!(!f.begin_answer(), "second answer");
    }

    #[test]
    fn periods_are_counted_in_flight_and_change_nothing_else() {
        let f = Flight::new();
        assert_eq!(f.overdue(), None, "idle");
        assert!(f.begin());
        assert_eq!(f.overdue(), None, "held");
        f.launch(Await::WireAndAnswer);
        assert_eq!(f.overdue(), Some(1));
        assert!(f.begin_answer());
        assert_eq!(f.overdue(), Some(2));
        assert_eq!(f.answered(), Outcome::Pending);
        assert_eq!(f.overdue(), Some(3));
        assert_eq!(f.wire_done(), Outcome::Last);
        assert_eq!(f.overdue(), None, "held by the last event");
        f.launch(Await::Wire);
        assert_eq!(f.overdue(), Some(1), "of this launch");
        assert_eq!(f.recall(), Recall::Held);
        f.release();
        assert!(f.is_idle());
    }

    #[test]
    fn the_count_of_periods_ends_without_an_overflow() {
        let f = Flight(AtomicU32::new(WIRE | ((MOST_PERIODS - 1) * PERIOD)));
        assert_eq!(f.overdue(), Some(MOST_PERIODS));
        assert_eq!(f.overdue(), Some(MOST_PERIODS));
        assert_eq!(f.wire_done(), Outcome::Last);
    }

    #[test]
    fn a_launch_can_be_recalled_whatever_the_peer_answered() {
        let f = Flight::new();
        assert!(f.begin());
        f.launch(Await::WireAndAnswer);
        assert!(f.begin_answer());
        assert_eq!(f.recall(), Recall::Busy);
        assert_eq!(f.answered(), Outcome::Pending);
        assert_eq!(f.recall(), Recall::Held);
        f.release();
        assert!(f.is_idle());
    }
}
