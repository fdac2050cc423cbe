// SPDX-License-Identifier: GPL-2.0-only

//! The life cycle of an operation that hardware, and perhaps a peer, works on.
//!
//! ```text
//!          begin                launch                     last of
//!  Idle ----------> Held --------------------> In flight ----------> Held
//!    ^                |  ^                     SEND, RESPONSE            |
//!    +----------------+  +------- recall ---------+                   |
//!          release                                   (handed to finish)
//! ```
//!
//! *Held* means that exactly one party has exclusive access to the operation's
//! data. *In flight* means that everybody only reads it, until each of the
//! awaited events has happened once: `SEND`, the hardware gave the work request
//! back, and `RESPONSE`, the peer (or teardown in its place) answered. Whoever
//! brings the last event gets the operation in state *Held*.
//!
//! A flight also counts how often somebody asked for it in vain
//! ([`OpState::count_timeout`]); each launch begins anew.

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::AcqRel;
use crate::atomic::Ordering::Acquire;
use crate::atomic::Ordering::Release;

const IDLE: u32 = 0;
const HELD: u32 = 1;
const SEND: u32 = 2;
const RESPONSE: u32 = 4;
/// An answer is being recorded: like `RESPONSE`, but refused to others.
const RECORDING: u32 = 8;
const IN_FLIGHT: u32 = SEND | RESPONSE | RECORDING;
/// The count of periods is above the state, and 0 unless in flight.
const PERIOD: u32 = 0x100;
const MOST_PERIODS: u32 = u32::MAX / PERIOD;

/// What an operation in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedEvents {
    /// That the hardware is done with it.
    Send,
    /// That, and an answer.
    SendAndResponse,
    /// An answer only. What the hardware does is taken care of otherwise.
    Response,
}

impl AwaitedEvents {
    /// Whether the hardware is to tell when it is done.
    pub const fn has_send_completion(self) -> bool {
        match self {
            Self::Send | Self::SendAndResponse => true,
            Self::Response => false,
        }
    }
}

/// Whether an event was the last one awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// The caller now holds the operation.
    Last,
    /// Others are still at it.
    Pending,
    /// The event was not awaited; nothing changed.
    Refused,
}

/// What became of a launch that is to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
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
pub struct OpState(AtomicU32);

impl Default for OpState {
    fn default() -> Self {
        Self::new()
    }
}

impl OpState {
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
    pub fn post(&self, awaited: AwaitedEvents) {
        let bits = match awaited {
            AwaitedEvents::Send => SEND,
            AwaitedEvents::SendAndResponse => SEND | RESPONSE,
            AwaitedEvents::Response => RESPONSE,
        };
        self.0.store(bits, Release);
    }

    /// In flight back to held, for a launch that the hardware did not take. To be called
    /// by who launched.
    pub fn cancel_post(&self) -> CancelOutcome {
        let mut now = self.0.load(Acquire);
        loop {
            if now & IN_FLIGHT == 0 {
                return CancelOutcome::Gone;
            }
            if now & RECORDING != 0 {
                return CancelOutcome::Busy;
            }
            match self.0.compare_exchange(now, HELD, AcqRel, Acquire) {
                Ok(_) => return CancelOutcome::Held,
                Err(seen) => now = seen,
            }
        }
    }

    /// The hardware gave the work request back.
    pub fn send_completed(&self) -> EventOutcome {
        self.clear(SEND)
    }

    /// An answer came. When true, [`OpState::response_recorded`] must follow.
    pub fn begin_response(&self) -> bool {
        let mut now = self.0.load(Acquire);
        loop {
            if now & RESPONSE == 0 {
                return false;
            }
            let next = now & !RESPONSE | RECORDING;
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    /// The answer that began is recorded.
    pub fn response_recorded(&self) -> EventOutcome {
        self.clear(RECORDING)
    }

    /// It should have been back by now, for one more period: for how many periods
    /// since its launch? `None` when it is not in flight.
    ///
    /// The count stops at some millions.
    pub fn count_timeout(&self) -> Option<u32> {
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

    fn clear(&self, bit: u32) -> EventOutcome {
        let mut now = self.0.load(Acquire);
        loop {
            if now & bit == 0 {
                return EventOutcome::Refused;
            }
            let last = now & IN_FLIGHT == bit;
            let next = if last { HELD } else { now & !bit };
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) if last => return EventOutcome::Last,
                Ok(_) => return EventOutcome::Pending,
                Err(seen) => now = seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl OpState {
        fn is_idle(&self) -> bool {
            self.0.load(Acquire) == IDLE
        }
    }

    #[test]
    fn the_last_of_wire_and_answer_holds_the_operation_in_either_order() {
        for answer_first in [false, true] {
            let f = OpState::new();
            assert!(f.begin());
            assert!(!f.begin(), "held twice");
            f.post(AwaitedEvents::SendAndResponse);
            let (first, second) = if answer_first {
                assert!(f.begin_response());
                (f.response_recorded(), f.send_completed())
            } else {
                let wire = f.send_completed();
                assert!(f.begin_response());
                (wire, f.response_recorded())
            };
            assert_eq!((first, second), (EventOutcome::Pending, EventOutcome::Last));
            assert!(!f.begin(), "the last event holds it");
            f.release();
            assert!(f.begin());
        }
    }

    #[test]
    fn an_answer_alone_holds_the_operation_where_only_that_is_awaited() {
        let f = OpState::new();
        assert!(f.begin());
        f.post(AwaitedEvents::Response);
        assert_eq!(f.send_completed(), EventOutcome::Refused);
        assert!(!f.begin(), "in flight");
        assert_eq!(f.count_timeout(), Some(1));
        assert!(f.begin_response());
        assert_eq!(f.response_recorded(), EventOutcome::Last);
        f.post(AwaitedEvents::Send);
        assert!(!f.begin_response(), "was answered");
        assert_eq!(f.send_completed(), EventOutcome::Last);
        f.post(AwaitedEvents::Response);
        assert_eq!(
            f.cancel_post(),
            CancelOutcome::Held,
            "not taken by the hardware"
        );
        f.release();
        assert!(f.is_idle());
    }

    #[test]
    fn a_launch_that_was_answered_before_it_could_be_recalled_is_gone() {
        let f = OpState::new();
        assert!(f.begin());
        f.post(AwaitedEvents::Response);
        assert!(f.begin_response());
        assert_eq!(f.cancel_post(), CancelOutcome::Busy);
        assert_eq!(f.response_recorded(), EventOutcome::Last);
        assert_eq!(f.cancel_post(), CancelOutcome::Gone, "held by the answer");
        f.release();
        assert_eq!(f.cancel_post(), CancelOutcome::Gone);
        assert!(f.is_idle());
    }

    #[test]
    fn answers_that_nobody_awaits_are_refused() {
        let f = OpState::new();
        assert!(!f.begin_response(), "idle");
        assert!(f.begin());
        assert!(!f.begin_response(), "held");
        f.post(AwaitedEvents::Send);
        assert!(!f.begin_response(), "not awaited");
        assert_eq!(f.send_completed(), EventOutcome::Last);
        assert_eq!(f.send_completed(), EventOutcome::Refused);
        f.post(AwaitedEvents::SendAndResponse);
        assert!(f.begin_response());
        assert!(!f.begin_response(), "second answer");
    }

    #[test]
    fn periods_are_counted_in_flight_and_change_nothing_else() {
        let f = OpState::new();
        assert_eq!(f.count_timeout(), None, "idle");
        assert!(f.begin());
        assert_eq!(f.count_timeout(), None, "held");
        f.post(AwaitedEvents::SendAndResponse);
        assert_eq!(f.count_timeout(), Some(1));
        assert!(f.begin_response());
        assert_eq!(f.count_timeout(), Some(2));
        assert_eq!(f.response_recorded(), EventOutcome::Pending);
        assert_eq!(f.count_timeout(), Some(3));
        assert_eq!(f.send_completed(), EventOutcome::Last);
        assert_eq!(f.count_timeout(), None, "held by the last event");
        f.post(AwaitedEvents::Send);
        assert_eq!(f.count_timeout(), Some(1), "of this launch");
        assert_eq!(f.cancel_post(), CancelOutcome::Held);
        f.release();
        assert!(f.is_idle());
    }

    #[test]
    fn the_count_of_periods_ends_without_an_overflow() {
        let f = OpState(AtomicU32::new(SEND | ((MOST_PERIODS - 1) * PERIOD)));
        assert_eq!(f.count_timeout(), Some(MOST_PERIODS));
        assert_eq!(f.count_timeout(), Some(MOST_PERIODS));
        assert_eq!(f.send_completed(), EventOutcome::Last);
    }

    #[test]
    fn a_launch_can_be_recalled_whatever_the_peer_answered() {
        let f = OpState::new();
        assert!(f.begin());
        f.post(AwaitedEvents::SendAndResponse);
        assert!(f.begin_response());
        assert_eq!(f.cancel_post(), CancelOutcome::Busy);
        assert_eq!(f.response_recorded(), EventOutcome::Pending);
        assert_eq!(f.cancel_post(), CancelOutcome::Held);
        f.release();
        assert!(f.is_idle());
    }
}
