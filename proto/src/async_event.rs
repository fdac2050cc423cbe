// SPDX-License-Identifier: GPL-2.0-only

//! Asynchronous events: the server notifies a client that a device has changed, such as its
//! size.
//!
//! The server counts the events of each session. Each of its heartbeats carries the count; the
//! handshake (SESS_INFO_RSP) carries the first one. A client that receives another count than
//! the last one queries all of its devices. So no event is lost with a message or a path, and
//! one query covers several events.
//!
//! Around the loss of a session a count may be taken for a wrong one. That costs a needless
//! query, or delays one until the next heartbeat.

use crate::{
    atomic::{
        AtomicU32,
        Ordering::Relaxed, //
    },
    imm, //
};

const MASK: u32 = (1 << imm::PAYLOAD_BITS) - 1;

/// A count of events, modulo 2^28. Only whether it differs from another one matters.
///
/// # Invariants
///
/// It has at most [`imm::PAYLOAD_BITS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount(u32);

impl EventCount {
    /// The count of a new session, and of one whose client does not listen.
    pub const NONE: Self = Self(0);

    /// Returns the count in the lowest bits of `raw`.
    #[inline]
    pub const fn new(raw: u32) -> Self {
        // INVARIANT: Masked here.
        Self(raw & MASK)
    }

    /// Returns the count as a payload.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the count after one more event.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }
}

/// Not a count: the client does not listen, or has not received a count.
const NO_COUNT: u32 = u32::MAX;

/// The client's side of the events of a session.
///
/// Completions of all paths call [`Self::receive`], on any CPU. One task calls
/// [`Self::pending`], queries the devices, and calls [`Self::handled`] if that succeeded;
/// otherwise the next heartbeat makes it try again.
#[derive(Debug)]
pub struct EventListener {
    /// Count at the last query of the devices, or [`NO_COUNT`].
    handled: AtomicU32,
    /// Count that was received last, or [`NO_COUNT`].
    received: AtomicU32,
}

/// Events that were received and not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    handled: u32,
    received: EventCount,
}

impl Default for EventListener {
    fn default() -> Self {
        Self::new()
    }
}

impl EventListener {
    /// Creates a listener that does not listen yet.
    pub const fn new() -> Self {
        Self {
            handled: AtomicU32::new(NO_COUNT),
            received: AtomicU32::new(NO_COUNT),
        }
    }

    /// Begins to listen with the count of the handshake, or not, if the server sends no events.
    ///
    /// The caller queries the devices after this call.
    pub fn start(&self, count: Option<EventCount>) {
        self.handled
            .store(count.map_or(NO_COUNT, EventCount::get), Relaxed);
    }

    /// Records the count of a heartbeat. Returns whether there are events to handle.
    #[inline]
    #[must_use]
    pub fn receive(&self, count: EventCount) -> bool {
        let handled = self.handled.load(Relaxed);
        if handled == NO_COUNT || handled == count.get() {
            return false;
        }
        self.received.store(count.get(), Relaxed);
        true
    }

    /// Returns the events to handle, if any.
    pub fn pending(&self) -> Option<PendingEvent> {
        let handled = self.handled.load(Relaxed);
        let received = self.received.load(Relaxed);
        let pending = handled != NO_COUNT && received != NO_COUNT && handled != received;
        pending.then_some(PendingEvent {
            handled,
            received: EventCount::new(received),
        })
    }

    /// Records that `event` was handled, unless the session was restarted meanwhile.
    pub fn handled(&self, event: PendingEvent) {
        let _ =
            self.handled
                .compare_exchange(event.handled, event.received.get(), Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_within_the_payload() {
        assert_eq!(EventCount::NONE.get(), 0);
        assert_eq!(EventCount::NONE.next(), EventCount::new(1));
        assert_eq!(EventCount::new(u32::MAX).get(), (1 << 28) - 1);
        assert_eq!(EventCount::new(u32::MAX).next(), EventCount::NONE);
    }

    #[test]
    fn counts_are_ignored_before_the_handshake_and_without_support() {
        let listener = EventListener::default();
        assert!(!listener.receive(EventCount::new(3)));
        listener.start(None);
        assert!(!listener.receive(EventCount::new(3)));
        assert_eq!(listener.pending(), None);
    }

    #[test]
    fn the_count_of_the_handshake_is_no_event() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::new(7)));
        assert!(!listener.receive(EventCount::new(7)));
        assert_eq!(listener.pending(), None);
    }

    #[test]
    fn an_event_is_pending_until_it_was_handled() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::NONE));
        assert!(listener.receive(EventCount::new(1)));
        let first = listener.pending().expect("an event");
        assert!(listener.receive(EventCount::new(1)), "not handled yet");
        assert!(listener.receive(EventCount::new(2)), "while it is handled");
        listener.handled(first);
        let second = listener.pending().expect("a second event");
        listener.handled(second);
        assert_eq!(listener.pending(), None);
        assert!(!listener.receive(EventCount::new(2)), "over another path");
    }

    #[test]
    fn a_new_handshake_is_not_overwritten_by_an_event_from_before_it() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::new(4)));
        assert!(listener.receive(EventCount::new(5)));
        let event = listener.pending().expect("an event");
        listener.start(Some(EventCount::NONE));
        listener.handled(event);
        assert!(!listener.receive(EventCount::NONE));
        listener.start(None);
        listener.handled(event);
        assert!(!listener.receive(EventCount::new(9)));
    }
}
