// SPDX-License-Identifier: GPL-2.0-only

//! State of an operation that hardware, and perhaps a peer, works on.
//!
//! ```text
//!         begin            post               last awaited event
//!  Idle ---------> Held ------------> In flight ---------------> Held
//!    ^               | ^              SEND, RESPONSE
//!    |    release    | |  cancel_post     |
//!    +---------------+ +------------------+
//! ```
//!
//! *Held*: exactly one owner has exclusive access to the data of the operation.
//!
//! *In flight*: the data is only read, until each of the awaited events has happened once:
//! `SEND`, the hardware has completed the work request, and `RESPONSE`, the response of the
//! peer (or teardown in its place) was recorded. The caller that reports the last event owns
//! the operation, which is *held* again.
//!
//! While an operation is in flight its timeouts are counted ([`OpState::count_timeout`]); each
//! post begins at 0.

use crate::atomic::{
    AtomicU32,
    Ordering::{
        AcqRel,
        Acquire,
        Release, //
    }, //
};

const IDLE: u32 = 0;
const HELD: u32 = 1;
const SEND: u32 = 2;
const RESPONSE: u32 = 4;
/// The response is being recorded: still awaited, but no other response is accepted.
const RECORDING: u32 = 8;
const IN_FLIGHT: u32 = SEND | RESPONSE | RECORDING;
/// One timeout. Their count is in the bits above the state, and 0 unless in flight.
const TIMEOUT: u32 = 0x100;
const MAX_TIMEOUTS: u32 = u32::MAX / TIMEOUT;

/// The events that an operation in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedEvents {
    /// The completion of the work request.
    Send,
    /// The completion of the work request, and a response.
    SendAndResponse,
    /// A response only. Another operation's completion covers the work request.
    Response,
}

impl AwaitedEvents {
    /// Returns whether the work request must be signaled, so that the hardware reports its
    /// completion.
    pub const fn has_send_completion(self) -> bool {
        match self {
            Self::Send | Self::SendAndResponse => true,
            Self::Response => false,
        }
    }
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// It was the last one awaited: the caller holds the operation.
    Last,
    /// Other events are awaited.
    Pending,
    /// The event was not awaited; nothing changed.
    Refused,
}

/// The outcome of [`OpState::cancel_post`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The caller holds the operation.
    Held,
    /// A response is being recorded: try again.
    Busy,
    /// A response arrived, although nothing was sent, and was the only awaited event: the caller
    /// that recorded it got the operation.
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
    /// Creates the state of an idle operation.
    pub const fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Changes from idle to held. Returns false if the operation is held or in flight.
    pub fn begin(&self) -> bool {
        self.0
            .compare_exchange(IDLE, HELD, Acquire, Acquire)
            .is_ok()
    }

    /// Changes from held to idle. Only the owner may call this.
    pub fn release(&self) {
        self.0.store(IDLE, Release);
    }

    /// Changes from held to in flight. Only the owner may call this.
    pub fn post(&self, awaited: AwaitedEvents) {
        let bits = match awaited {
            AwaitedEvents::Send => SEND,
            AwaitedEvents::SendAndResponse => SEND | RESPONSE,
            AwaitedEvents::Response => RESPONSE,
        };
        self.0.store(bits, Release);
    }

    /// Changes from in flight back to held, as the hardware did not take the work request. Only
    /// the caller of [`Self::post`] may call this.
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

    /// Records that the hardware has completed the work request.
    pub fn send_completed(&self) -> EventOutcome {
        self.clear(SEND)
    }

    /// Begins to record a response. When true, [`OpState::response_recorded`] must follow; when
    /// false, no response is awaited.
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

    /// Ends recording the response.
    pub fn response_recorded(&self) -> EventOutcome {
        self.clear(RECORDING)
    }

    /// Counts a timeout and returns the number of timeouts since the post, or `None` if the
    /// operation is not in flight.
    ///
    /// The count saturates at 2^24 - 1.
    pub fn count_timeout(&self) -> Option<u32> {
        let mut now = self.0.load(Acquire);
        loop {
            let timeouts = now / TIMEOUT;
            if now & IN_FLIGHT == 0 {
                return None;
            }
            if timeouts == MAX_TIMEOUTS {
                return Some(timeouts);
            }
            match self.0.compare_exchange(now, now + TIMEOUT, AcqRel, Acquire) {
                Ok(_) => return Some(timeouts + 1),
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
    fn the_last_of_send_and_response_gets_the_operation_in_either_order() {
        for response_first in [false, true] {
            let op = OpState::new();
            assert!(op.begin());
            assert!(!op.begin(), "held twice");
            op.post(AwaitedEvents::SendAndResponse);
            let (first, second) = if response_first {
                assert!(op.begin_response());
                (op.response_recorded(), op.send_completed())
            } else {
                let send = op.send_completed();
                assert!(op.begin_response());
                (send, op.response_recorded())
            };
            assert_eq!((first, second), (EventOutcome::Pending, EventOutcome::Last));
            assert!(!op.begin(), "held after the last event");
            op.release();
            assert!(op.begin());
        }
    }

    #[test]
    fn a_response_gets_the_operation_if_only_that_is_awaited() {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::Response);
        assert_eq!(op.send_completed(), EventOutcome::Refused);
        assert!(!op.begin(), "in flight");
        assert_eq!(op.count_timeout(), Some(1));
        assert!(op.begin_response());
        assert_eq!(op.response_recorded(), EventOutcome::Last);
        op.post(AwaitedEvents::Send);
        assert!(!op.begin_response(), "had its response");
        assert_eq!(op.send_completed(), EventOutcome::Last);
        op.post(AwaitedEvents::Response);
        assert_eq!(
            op.cancel_post(),
            CancelOutcome::Held,
            "not taken by the hardware"
        );
        op.release();
        assert!(op.is_idle());
    }

    #[test]
    fn a_post_whose_response_was_recorded_before_it_is_cancelled_is_gone() {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::Response);
        assert!(op.begin_response());
        assert_eq!(op.cancel_post(), CancelOutcome::Busy);
        assert_eq!(op.response_recorded(), EventOutcome::Last);
        assert_eq!(
            op.cancel_post(),
            CancelOutcome::Gone,
            "held after the response"
        );
        op.release();
        assert_eq!(op.cancel_post(), CancelOutcome::Gone);
        assert!(op.is_idle());
    }

    #[test]
    fn responses_that_are_not_awaited_are_refused() {
        let op = OpState::new();
        assert!(!op.begin_response(), "idle");
        assert!(op.begin());
        assert!(!op.begin_response(), "held");
        op.post(AwaitedEvents::Send);
        assert!(!op.begin_response(), "not awaited");
        assert_eq!(op.send_completed(), EventOutcome::Last);
        assert_eq!(op.send_completed(), EventOutcome::Refused);
        op.post(AwaitedEvents::SendAndResponse);
        assert!(op.begin_response());
        assert!(!op.begin_response(), "second response");
    }

    #[test]
    fn timeouts_are_counted_in_flight_and_change_nothing_else() {
        let op = OpState::new();
        assert_eq!(op.count_timeout(), None, "idle");
        assert!(op.begin());
        assert_eq!(op.count_timeout(), None, "held");
        op.post(AwaitedEvents::SendAndResponse);
        assert_eq!(op.count_timeout(), Some(1));
        assert!(op.begin_response());
        assert_eq!(op.count_timeout(), Some(2));
        assert_eq!(op.response_recorded(), EventOutcome::Pending);
        assert_eq!(op.count_timeout(), Some(3));
        assert_eq!(op.send_completed(), EventOutcome::Last);
        assert_eq!(op.count_timeout(), None, "held after the last event");
        op.post(AwaitedEvents::Send);
        assert_eq!(op.count_timeout(), Some(1), "of this post");
        assert_eq!(op.cancel_post(), CancelOutcome::Held);
        op.release();
        assert!(op.is_idle());
    }

    #[test]
    fn the_count_of_timeouts_saturates() {
        let op = OpState(AtomicU32::new(SEND | ((MAX_TIMEOUTS - 1) * TIMEOUT)));
        assert_eq!(op.count_timeout(), Some(MAX_TIMEOUTS));
        assert_eq!(op.count_timeout(), Some(MAX_TIMEOUTS));
        assert_eq!(op.send_completed(), EventOutcome::Last);
    }

    #[test]
    fn a_post_can_be_cancelled_after_a_response() {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::SendAndResponse);
        assert!(op.begin_response());
        assert_eq!(op.cancel_post(), CancelOutcome::Busy);
        assert_eq!(op.response_recorded(), EventOutcome::Pending);
        assert_eq!(op.cancel_post(), CancelOutcome::Held);
        op.release();
        assert!(op.is_idle());
    }
}
