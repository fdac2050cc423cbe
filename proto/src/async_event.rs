// SPDX-License-Identifier: GPL-2.0-only

//! That something about a session's devices has changed, such as the size of one.
//!
//! The server has a number for each session, which it changes when there is news, and
//! which each of its heartbeats carries; the greeting tells where it starts. A client
//! that hears another number than the last one asks for all of its devices. So nothing
//! is lost with a message or a path, and several changes need to be asked for only once.
//!
//! A number that is mistaken for another one, as can happen around the loss of a
//! session, costs a look at the devices, or puts it off until the next heartbeat.

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::Relaxed;
use crate::imm;

const MASK: u32 = (1 << imm::PAYLOAD_BITS) - 1;

/// The number, which means nothing but that it differs from another one.
///
/// # Invariants
///
/// Takes at most [`imm::PAYLOAD_BITS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount(u32);

impl EventCount {
    /// Where a session starts, and what one tells whose client does not listen.
    pub const NONE: Self = Self(0);

    /// The number in the lowest bits of `raw`.
    #[inline]
    pub const fn new(raw: u32) -> Self {
        // INVARIANT: Masked here.
        Self(raw & MASK)
    }

    /// The number as it travels.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number after one more change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }
}

/// No number: what the server says does not matter.
const DEAF: u32 = u32::MAX;

/// What the client of a session knows of its news.
///
/// Completions of all paths call [`Self::receive`], on any CPU. One task calls
/// [`Self::pending`], acts, and calls [`Self::handled`] if that went well; else the next
/// heartbeat brings it up again.
#[derive(Debug)]
pub struct EventListener {
    /// The number as of the last look at the devices, or [`DEAF`].
    known: AtomicU32,
    /// The one that was heard last.
    heard: AtomicU32,
}

/// News that was heard and not acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    known: u32,
    heard: EventCount,
}

impl Default for EventListener {
    fn default() -> Self {
        Self::new()
    }
}

impl EventListener {
    /// One that does not listen yet.
    pub const fn new() -> Self {
        Self {
            known: AtomicU32::new(DEAF),
            heard: AtomicU32::new(DEAF),
        }
    }

    /// The server greeted with this number; with none if it does not tell news.
    ///
    /// What is known of the devices must be asked for after that.
    pub fn start(&self, from: Option<EventCount>) {
        self.known
            .store(from.map_or(DEAF, EventCount::get), Relaxed);
    }

    /// The server told its number. Whether that is to be acted upon.
    #[inline]
    #[must_use]
    pub fn receive(&self, news: EventCount) -> bool {
        let known = self.known.load(Relaxed);
        if known == DEAF || known == news.get() {
            return false;
        }
        self.heard.store(news.get(), Relaxed);
        true
    }

    /// What is to be acted upon.
    pub fn pending(&self) -> Option<PendingEvent> {
        let known = self.known.load(Relaxed);
        let heard = self.heard.load(Relaxed);
        (known != DEAF && heard != DEAF && known != heard).then_some(PendingEvent {
            known,
            heard: EventCount::new(heard),
        })
    }

    /// It was acted upon, unless the session began anew meanwhile.
    pub fn handled(&self, due: PendingEvent) {
        let _ = self
            .known
            .compare_exchange(due.known, due.heard.get(), Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_the_payload() {
        assert_eq!(EventCount::NONE.get(), 0);
        assert_eq!(EventCount::NONE.next(), EventCount::new(1));
        assert_eq!(EventCount::new(u32::MAX).get(), (1 << 28) - 1);
        assert_eq!(EventCount::new(u32::MAX).next(), EventCount::NONE);
    }

    #[test]
    fn nobody_listens_before_the_greeting_or_to_a_server_without_news() {
        let listener = EventListener::default();
        assert!(!listener.receive(EventCount::new(3)));
        listener.start(None);
        assert!(!listener.receive(EventCount::new(3)));
        assert_eq!(listener.pending(), None);
    }

    #[test]
    fn the_number_of_the_greeting_is_no_news() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::new(7)));
        assert!(!listener.receive(EventCount::new(7)));
        assert_eq!(listener.pending(), None);
    }

    #[test]
    fn news_is_due_until_it_was_acted_upon() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::NONE));
        assert!(listener.receive(EventCount::new(1)));
        let first = listener.pending().expect("news");
        assert!(listener.receive(EventCount::new(1)), "not acted upon yet");
        assert!(listener.receive(EventCount::new(2)), "during that");
        listener.handled(first);
        let second = listener.pending().expect("what came meanwhile");
        listener.handled(second);
        assert_eq!(listener.pending(), None);
        assert!(!listener.receive(EventCount::new(2)), "over another path");
    }

    #[test]
    fn a_new_greeting_is_not_overwritten_by_what_was_due_before() {
        let listener = EventListener::new();
        listener.start(Some(EventCount::new(4)));
        assert!(listener.receive(EventCount::new(5)));
        let due = listener.pending().expect("news");
        listener.start(Some(EventCount::NONE));
        listener.handled(due);
        assert!(!listener.receive(EventCount::NONE));
        listener.start(None);
        listener.handled(due);
        assert!(!listener.receive(EventCount::new(9)));
    }
}
