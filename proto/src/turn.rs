// SPDX-License-Identifier: GPL-2.0-only

//! Whose turn it is with one of the server's chunks.
//!
//! ```text
//!         arrive               answer               answered
//!  Free ----------> Serving ----------> Answering ----------> Free
//!                      ^                    | arrive
//!                      |     answered       v
//!                      +-------------- Answering, one waits
//! ```
//!
//! A client may use a chunk again as soon as it sees the answer, which can be
//! before the server learns that its answer was sent, and over another
//! connection. So one request may arrive early and waits. Anything else that
//! arrives for a chunk in use breaks the protocol.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;

const FREE: u64 = 0;
const SERVING: u64 = 1;
const ANSWERING: u64 = 2;
const WAITING: u64 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

/// Where a request arrived: connection, and offset of the message in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Id of the connection.
    pub connection: u16,
    /// Offset of the RTRS message in bytes.
    pub offset: u32,
}

impl Arrival {
    /// The state of a chunk for which this waits.
    const fn waiting(self) -> u64 {
        let place = ((self.offset as u64) << u16::BITS) | self.connection as u64;
        (place << STATE_BITS) | WAITING
    }

    const fn of(state: u64) -> Self {
        let place = state >> STATE_BITS;
        Self {
            connection: place as u16,
            offset: (place >> u16::BITS) as u32,
        }
    }
}

/// What to do with a request that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// It waits; [`Turn::answered`] will give it back.
    Wait,
    /// The chunk is in use: the client broke the protocol.
    Violation,
}

/// The state of one chunk.
///
/// # Invariants
///
/// The lowest bits are a state; an [`Arrival`] is above them while one waits.
#[derive(Debug, Default)]
pub struct Turn(AtomicU64);

impl Turn {
    /// A chunk that is free.
    pub const fn new() -> Self {
        Self(AtomicU64::new(FREE))
    }

    /// A request arrived.
    #[inline]
    pub fn arrive(&self, arrival: Arrival) -> Verdict {
        let old = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| match state {
                FREE => Some(SERVING),
                ANSWERING => Some(arrival.waiting()),
                _ => None,
            });
        match old {
            Ok(FREE) => Verdict::Serve,
            Ok(_) => Verdict::Wait,
            Err(_) => Verdict::Violation,
        }
    }

    /// The answer is about to be posted. False, with nothing changed, unless a
    /// request is being served.
    #[inline]
    pub fn answer(&self) -> bool {
        self.0
            .compare_exchange(SERVING, ANSWERING, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The answer was sent. If a request waits, it is to be served now.
    #[inline]
    pub fn answered(&self) -> Option<Arrival> {
        let old = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                match state & STATE_MASK {
                    ANSWERING => Some(FREE),
                    WAITING => Some(SERVING),
                    _ => None,
                }
            });
        match old {
            Ok(state) if state & STATE_MASK == WAITING => Some(Arrival::of(state)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Arrival = Arrival {
        connection: 1,
        offset: 4096,
    };
    const LAST: Arrival = Arrival {
        connection: u16::MAX,
        offset: u32::MAX,
    };

    #[test]
    fn a_chunk_is_served_answered_and_free_again() {
        let turn = Turn::new();
        for _ in 0..3 {
            assert_eq!(turn.arrive(FIRST), Verdict::Serve);
            assert!(turn.answer());
            assert_eq!(turn.answered(), None);
        }
    }

    #[test]
    fn an_early_request_waits_and_keeps_its_place() {
        for early in [FIRST, LAST] {
            let turn = Turn::new();
            assert_eq!(turn.arrive(FIRST), Verdict::Serve);
            assert!(turn.answer());
            assert_eq!(turn.arrive(early), Verdict::Wait);
            assert_eq!(turn.arrive(FIRST), Verdict::Violation, "a second one");
            assert_eq!(turn.answered(), Some(early));
            assert_eq!(turn.arrive(FIRST), Verdict::Violation, "being served");
            assert!(turn.answer());
            assert_eq!(turn.answered(), None);
        }
    }

    #[test]
    fn a_chunk_in_use_takes_no_other_request() {
        let turn = Turn::new();
        assert_eq!(turn.arrive(FIRST), Verdict::Serve);
        assert_eq!(turn.arrive(FIRST), Verdict::Violation);
        assert_eq!(turn.answered(), None, "not answered yet");
        assert!(turn.answer());
        assert!(!turn.answer(), "answered twice");
    }
}
