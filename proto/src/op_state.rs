// SPDX-License-Identifier: GPL-2.0-only

//! State of an operation that hardware, and perhaps a peer, works on.
//!
//! ```text
//!         begin            post               last awaited event
//!  Idle ---------> Held ------------> In flight ---------------> Held
//!    ^               | ^              POST, SEND, RESPONSE
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
//! A response can arrive before the hardware has taken the work request that it seems to
//! respond to, from a peer that breaks the protocol. If the operation awaits no `SEND`, which
//! happens later anyway, it awaits `POST` instead: the caller of [`OpState::post`] reports that the
//! hardware has taken the work request. Otherwise the next work request of the operation, such as
//! an invalidation, could be posted before this one.
//!
//! An operation that awaits nothing but its response can be taken over
//! ([`OpState::take_over`]): the caller holds it while the response is still owed. A response
//! that arrives meanwhile is noted. Otherwise the operation goes back to being in flight when the
//! owner is done with it ([`OpState::park`]).
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
/// The hardware has not taken the work request yet.
const POST: u32 = 0x40;
const IN_FLIGHT: u32 = POST | SEND | RESPONSE | RECORDING;
/// A response is owed to an operation that was taken over.
const OWED: u32 = 0x10;
/// The response that was owed is being recorded.
const RECORDING_OWED: u32 = 0x20;
const TAKEN_OVER: u32 = OWED | RECORDING_OWED;
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
    #[inline]
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

/// What becomes of a response that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseArrival {
    /// It is recorded in the data of the operation.
    Awaited,
    /// The operation was taken over, so its data cannot be accessed.
    Owed,
    /// No response is awaited.
    Refused,
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
    #[inline]
    pub fn begin(&self) -> bool {
        self.0
            .compare_exchange(IDLE, HELD, Acquire, Acquire)
            .is_ok()
    }

    /// Changes from held to idle, or back to in flight if a response is owed. Only the owner may
    /// call this.
    #[inline]
    pub fn release(&self) {
        if self.0.load(Acquire) & TAKEN_OVER == 0 || !self.park() {
            self.0.store(IDLE, Release);
        }
    }

    /// Changes from in flight to held, although the response is still owed. Returns false if
    /// anything else is awaited, or nothing.
    pub fn take_over(&self) -> bool {
        let mut now = self.0.load(Acquire);
        loop {
            // Without the timeouts.
            if now % TIMEOUT != RESPONSE {
                return false;
            }
            match self.0.compare_exchange(now, HELD | OWED, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
    }

    /// Changes from held to in flight, if a response is owed. Returns false, and changes nothing,
    /// if there was one. Only the owner may call this.
    pub fn park(&self) -> bool {
        loop {
            match self
                .0
                .compare_exchange(HELD | OWED, RESPONSE, AcqRel, Acquire)
            {
                Ok(_) => return true,
                Err(now) if now & RECORDING_OWED != 0 => core::hint::spin_loop(),
                Err(_) => return false,
            }
        }
    }

    /// Changes from held to in flight. Only the owner may call this. [`OpState::posted`] or
    /// [`OpState::cancel_post`] must follow if no send completion is awaited.
    #[inline]
    pub fn post(&self, awaited: AwaitedEvents) {
        let bits = match awaited {
            AwaitedEvents::Send => SEND,
            AwaitedEvents::SendAndResponse => SEND | RESPONSE,
            AwaitedEvents::Response => POST | RESPONSE,
        };
        let mut now = self.0.load(Acquire);
        if now & TAKEN_OVER == 0 {
            // Only the owner can change it.
            return self.0.store(bits, Release);
        }
        while let Err(seen) =
            self.0
                .compare_exchange(now, bits | (now & TAKEN_OVER), AcqRel, Acquire)
        {
            now = seen;
        }
    }

    /// Changes from in flight back to held, as the hardware did not take the work request. Only
    /// the caller of [`Self::post`] may call this. Returns false if a response is being recorded,
    /// although nothing was sent: the caller that records it gets the operation.
    pub fn cancel_post(&self) -> bool {
        let mut now = self.0.load(Acquire);
        loop {
            let recording = now & RECORDING != 0;
            let kept = now & TAKEN_OVER;
            let next = kept | if recording { RECORDING } else { HELD };
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return !recording,
                Err(seen) => now = seen,
            }
        }
    }

    /// Records that the hardware has taken the work request of an operation that awaits no send
    /// completion.
    #[inline]
    pub fn posted(&self) -> EventOutcome {
        self.clear(POST)
    }

    /// Records that the hardware has completed the work request.
    #[inline]
    pub fn send_completed(&self) -> EventOutcome {
        self.clear(SEND)
    }

    /// Begins to record a response, if one is awaited; [`OpState::response_recorded`] must follow.
    /// If one is owed, nothing changes, and [`OpState::begin_owed`] must follow.
    #[inline]
    pub fn begin_response(&self) -> ResponseArrival {
        let mut now = self.0.load(Acquire);
        while now & RESPONSE != 0 {
            let next = now & !RESPONSE | RECORDING;
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return ResponseArrival::Awaited,
                Err(seen) => now = seen,
            }
        }
        match now & OWED {
            0 => ResponseArrival::Refused,
            _ => ResponseArrival::Owed,
        }
    }

    /// Begins to record a response that is owed. [`OpState::owed_recorded`] must follow without
    /// preemption, as [`OpState::park`] waits for it. Returns false if none is owed any more: the
    /// owner may have parked the operation meanwhile.
    pub fn begin_owed(&self) -> bool {
        let mut now = self.0.load(Acquire);
        while now & OWED != 0 {
            let next = now & !OWED | RECORDING_OWED;
            match self.0.compare_exchange(now, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(seen) => now = seen,
            }
        }
        false
    }

    /// Ends recording a response that was owed: the owner of the operation learns of it when it
    /// [parks](OpState::park) the operation.
    pub fn owed_recorded(&self) {
        self.0.fetch_and(!RECORDING_OWED, AcqRel);
    }

    /// Ends recording the response.
    #[inline]
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

    #[inline]
    fn clear(&self, bit: u32) -> EventOutcome {
        let mut now = self.0.load(Acquire);
        loop {
            if now & bit == 0 {
                return EventOutcome::Refused;
            }
            let last = now & IN_FLIGHT == bit;
            let next = if last {
                HELD | (now & TAKEN_OVER)
            } else {
                now & !bit
            };
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
                assert_eq!(op.begin_response(), ResponseArrival::Awaited);
                (op.response_recorded(), op.send_completed())
            } else {
                let send = op.send_completed();
                assert_eq!(op.begin_response(), ResponseArrival::Awaited);
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
        assert_eq!(op.posted(), EventOutcome::Pending);
        assert_eq!(op.posted(), EventOutcome::Refused, "posted already");
        assert_eq!(op.send_completed(), EventOutcome::Refused);
        assert!(!op.begin(), "in flight");
        assert_eq!(op.count_timeout(), Some(1));
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
        assert_eq!(op.response_recorded(), EventOutcome::Last);
        op.post(AwaitedEvents::Send);
        assert_eq!(
            op.begin_response(),
            ResponseArrival::Refused,
            "had its response"
        );
        assert_eq!(op.send_completed(), EventOutcome::Last);
        op.post(AwaitedEvents::Response);
        assert!(op.cancel_post(), "not taken by the hardware");
        op.release();
        assert!(op.is_idle());
    }

    #[test]
    fn an_operation_whose_response_came_before_its_post_goes_to_the_poster() {
        for taken in [true, false] {
            let op = OpState::new();
            assert!(op.begin());
            op.post(AwaitedEvents::Response);
            assert_eq!(op.begin_response(), ResponseArrival::Awaited);
            assert_eq!(op.response_recorded(), EventOutcome::Pending);
            assert!(!op.begin(), "in flight");
            assert!(!op.take_over(), "in flight");
            if taken {
                assert_eq!(op.posted(), EventOutcome::Last);
            } else {
                assert!(op.cancel_post());
            }
            op.release();
            assert!(op.is_idle());
        }
    }

    #[test]
    fn a_post_that_is_cancelled_during_its_response_goes_to_the_recorder() {
        for awaited in [AwaitedEvents::Response, AwaitedEvents::SendAndResponse] {
            let op = OpState::new();
            assert!(op.begin());
            op.post(awaited);
            assert_eq!(op.begin_response(), ResponseArrival::Awaited);
            assert!(!op.cancel_post());
            assert_eq!(op.response_recorded(), EventOutcome::Last);
            op.release();
            assert!(op.is_idle());
        }
    }

    #[test]
    fn responses_that_are_not_awaited_are_refused() {
        let op = OpState::new();
        assert_eq!(op.begin_response(), ResponseArrival::Refused, "idle");
        assert!(op.begin());
        assert_eq!(op.begin_response(), ResponseArrival::Refused, "held");
        op.post(AwaitedEvents::Send);
        assert_eq!(op.begin_response(), ResponseArrival::Refused, "not awaited");
        assert_eq!(op.send_completed(), EventOutcome::Last);
        assert_eq!(op.send_completed(), EventOutcome::Refused);
        op.post(AwaitedEvents::SendAndResponse);
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
        assert_eq!(
            op.begin_response(),
            ResponseArrival::Refused,
            "second response"
        );
    }

    #[test]
    fn timeouts_are_counted_in_flight_and_change_nothing_else() {
        let op = OpState::new();
        assert_eq!(op.count_timeout(), None, "idle");
        assert!(op.begin());
        assert_eq!(op.count_timeout(), None, "held");
        op.post(AwaitedEvents::SendAndResponse);
        assert_eq!(op.count_timeout(), Some(1));
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
        assert_eq!(op.count_timeout(), Some(2));
        assert_eq!(op.response_recorded(), EventOutcome::Pending);
        assert_eq!(op.count_timeout(), Some(3));
        assert_eq!(op.send_completed(), EventOutcome::Last);
        assert_eq!(op.count_timeout(), None, "held after the last event");
        op.post(AwaitedEvents::Send);
        assert_eq!(op.count_timeout(), Some(1), "of this post");
        assert!(op.cancel_post());
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
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
        assert_eq!(op.response_recorded(), EventOutcome::Pending);
        assert!(op.cancel_post());
        op.release();
        assert!(op.is_idle());
    }

    fn in_flight() -> OpState {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::Response);
        assert_eq!(op.posted(), EventOutcome::Pending);
        op
    }

    #[test]
    fn only_an_operation_that_awaits_nothing_but_its_response_can_be_taken_over() {
        let op = OpState::new();
        assert!(!op.take_over(), "idle");
        assert!(op.begin());
        assert!(!op.take_over(), "held");
        op.post(AwaitedEvents::SendAndResponse);
        assert!(!op.take_over(), "not sent yet");
        assert_eq!(op.send_completed(), EventOutcome::Pending);
        assert_eq!(op.count_timeout(), Some(1));
        assert!(op.take_over());
        assert!(!op.take_over(), "taken over");
        assert!(!op.begin(), "taken over");
        assert_eq!(op.count_timeout(), None);
    }

    #[test]
    fn an_operation_that_was_taken_over_awaits_its_response_again() {
        for release in [false, true] {
            let op = in_flight();
            assert!(op.take_over());
            op.post(AwaitedEvents::Send);
            assert!(!op.take_over());
            assert_eq!(op.send_completed(), EventOutcome::Last);
            if release {
                op.release();
            } else {
                assert!(op.park());
            }
            assert!(!op.begin(), "in flight");
            assert_eq!(op.begin_response(), ResponseArrival::Awaited);
            assert_eq!(op.response_recorded(), EventOutcome::Last);
            op.release();
            assert!(op.is_idle());
        }
    }

    #[test]
    fn a_response_that_is_owed_is_taken_once_at_any_time() {
        for arrival in 0..3 {
            let op = in_flight();
            let arrive = |when| {
                if arrival == when {
                    assert_eq!(op.begin_response(), ResponseArrival::Owed);
                    assert!(op.begin_owed());
                    assert_eq!(op.begin_response(), ResponseArrival::Refused);
                    assert!(!op.begin_owed());
                    op.owed_recorded();
                }
            };
            assert!(op.take_over());
            arrive(0);
            op.post(AwaitedEvents::Send);
            arrive(1);
            assert_eq!(op.send_completed(), EventOutcome::Last);
            arrive(2);
            assert!(!op.park(), "there was a response at {arrival}");
            assert_eq!(op.begin_response(), ResponseArrival::Refused);
            op.release();
            assert!(op.is_idle());
        }
    }

    #[test]
    fn a_response_that_was_owed_is_awaited_once_the_operation_is_parked() {
        let op = in_flight();
        assert!(op.take_over());
        assert_eq!(op.begin_response(), ResponseArrival::Owed);
        assert!(op.park(), "before it is recorded");
        assert!(!op.begin_owed());
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
        assert_eq!(op.response_recorded(), EventOutcome::Last);
    }

    #[test]
    fn a_post_of_an_operation_that_was_taken_over_can_be_cancelled() {
        let op = in_flight();
        assert!(op.take_over());
        op.post(AwaitedEvents::Send);
        assert!(op.cancel_post());
        assert!(op.park());
        assert_eq!(op.begin_response(), ResponseArrival::Awaited);
    }
}
