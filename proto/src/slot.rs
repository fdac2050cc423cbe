// SPDX-License-Identifier: GPL-2.0-only

//! Life of one request of a client.
//!
//! A request is over when all of its events are in: the hardware is done with its
//! buffers ([`Events::SENT`]), the server has answered ([`Events::ANSWERED`]), and,
//! for a buffer that the server could write to, the key is invalid again
//! ([`Events::INVALIDATED`]). They come in any order and on any CPU, an answer even
//! before the completion of the send it answers. Exactly one caller is told
//! [`Outcome::Finished`] and completes the request; what fits no request in flight
//! (made up, repeated or late) is [`Outcome::Refused`].

use core::ops::BitOr;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering;

/// A set of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    /// No event.
    pub const NONE: Self = Self(0);
    /// The send completed: the hardware lets go of what was sent.
    pub const SENT: Self = Self(1 << 0);
    /// The server answered.
    pub const ANSWERED: Self = Self(1 << 1);
    /// The key of the request's buffer is invalid.
    pub const INVALIDATED: Self = Self(1 << 2);

    /// Whether all events of `other` are in this set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Events {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The slot holds a request already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What an event meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was the last: complete the request. The slot is idle.
    Finished,
    /// Others are to come.
    Pending,
    /// No request in flight waits for this event.
    Refused,
}

/// Set beside the events that a request in flight waits for.
const IN_FLIGHT: u8 = 1 << 7;

/// Where a request lives from its start to its end.
///
/// # Invariants
///
/// `state` is 0, or [`IN_FLIGHT`] and at least one event.
#[derive(Debug, Default)]
pub struct Slot {
    state: AtomicU8,
}

impl Slot {
    /// An idle slot.
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(0),
        }
    }

    /// Starts a request that waits for `events`. To be called before it is posted.
    pub fn start(&self, events: Events) -> Result<(), Busy> {
        if events == Events::NONE {
            return Err(Busy);
        }
        // INVARIANT: At least one event, as just checked.
        self.state
            .compare_exchange(0, IN_FLIGHT | events.0, Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| ())
            .map_err(|_| Busy)
    }

    /// An event came in.
    #[inline]
    pub fn event(&self, event: Events) -> Outcome {
        self.exchange(event, Events::NONE)
    }

    /// An event came in, and the request waits for `more` from now on: an answer
    /// that leaves the key for us to invalidate.
    #[inline]
    pub fn exchange(&self, event: Events, more: Events) -> Outcome {
        // Release and acquire: whoever finishes sees what all the others did
        // before their events.
        let old = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                Self::after(state, event, more)
            });
        match old {
            Err(_) => Outcome::Refused,
            Ok(state) => match Self::after(state, event, more) {
                Some(0) => Outcome::Finished,
                _ => Outcome::Pending,
            },
        }
    }

    /// The state after an event, if it fits.
    fn after(state: u8, event: Events, more: Events) -> Option<u8> {
        let waits = Events(state & !IN_FLIGHT);
        if state & IN_FLIGHT == 0 || event == Events::NONE || !waits.contains(event) {
            return None;
        }
        // INVARIANT: Without an event left the state becomes 0.
        match (state & !event.0) | more.0 {
            IN_FLIGHT => Some(0),
            state => Some(state),
        }
    }

    /// Ends the request, whatever it waits for: the path is gone, and its queue
    /// pair drained. [`Outcome::Refused`] if there is none.
    pub fn abort(&self) -> Outcome {
        // INVARIANT: 0 is idle.
        match self.state.swap(0, Ordering::AcqRel) {
            0 => Outcome::Refused,
            _ => Outcome::Finished,
        }
    }

    /// Whether a request is in flight.
    pub fn is_busy(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }
}
