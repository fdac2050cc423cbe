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

use crate::atomic::AtomicU64;
use crate::atomic::Ordering;

const FREE: u64 = 0;
const SERVING: u64 = 1;
const ANSWERING: u64 = 2;
const WAITING: u64 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

/// Where a request arrived: connection, and offset of the message in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLocation {
    /// Id of the connection.
    pub connection: u16,
    /// Offset of the RTRS message in bytes.
    pub offset: u32,
}

impl RequestLocation {
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
pub enum ArrivalAction {
    /// Serve it.
    Serve,
    /// It waits; [`ChunkState::response_sent`] will give it back.
    Wait,
    /// The chunk is in use: the client broke the protocol.
    Violation,
}

/// The state of one chunk.
///
/// # Invariants
///
/// The lowest bits are a state; an [`RequestLocation`] is above them while one waits.
#[derive(Debug, Default)]
pub struct ChunkState(AtomicU64);

impl ChunkState {
    /// A chunk that is free.
    pub const fn new() -> Self {
        Self(AtomicU64::new(FREE))
    }

    /// A request arrived.
    #[inline]
    pub fn request_arrived(&self, arrival: RequestLocation) -> ArrivalAction {
        let old = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| match state {
                FREE => Some(SERVING),
                ANSWERING => Some(arrival.waiting()),
                _ => None,
            });
        match old {
            Ok(FREE) => ArrivalAction::Serve,
            Ok(_) => ArrivalAction::Wait,
            Err(_) => ArrivalAction::Violation,
        }
    }

    /// The answer is about to be posted. False, with nothing changed, unless a
    /// request is being served.
    #[inline]
    pub fn begin_response(&self) -> bool {
        self.0
            .compare_exchange(SERVING, ANSWERING, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The answer was sent. If a request waits, it is to be served now.
    #[inline]
    pub fn response_sent(&self) -> Option<RequestLocation> {
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
            Ok(state) if state & STATE_MASK == WAITING => Some(RequestLocation::of(state)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: RequestLocation = RequestLocation {
        connection: 1,
        offset: 4096,
    };
    const LAST: RequestLocation = RequestLocation {
        connection: u16::MAX,
        offset: u32::MAX,
    };

    #[test]
    fn a_chunk_is_served_answered_and_free_again() {
        let state = ChunkState::new();
        for _ in 0..3 {
            assert_eq!(state.request_arrived(FIRST), ArrivalAction::Serve);
            assert!(state.begin_response());
            assert_eq!(state.response_sent(), None);
        }
    }

    #[test]
    fn an_early_request_waits_and_keeps_its_place() {
        for early in [FIRST, LAST] {
            let state = ChunkState::new();
            assert_eq!(state.request_arrived(FIRST), ArrivalAction::Serve);
            assert!(state.begin_response());
            assert_eq!(state.request_arrived(early), ArrivalAction::Wait);
            assert_eq!(
                state.request_arrived(FIRST),
                ArrivalAction::Violation,
                "a second one"
            );
            assert_eq!(state.response_sent(), Some(early));
            assert_eq!(
                state.request_arrived(FIRST),
                ArrivalAction::Violation,
                "being served"
            );
            assert!(state.begin_response());
            assert_eq!(state.response_sent(), None);
        }
    }

    #[test]
    fn a_chunk_in_use_takes_no_other_request() {
        let state = ChunkState::new();
        assert_eq!(state.request_arrived(FIRST), ArrivalAction::Serve);
        assert_eq!(state.request_arrived(FIRST), ArrivalAction::Violation);
        assert_eq!(state.response_sent(), None, "not answered yet");
        assert!(state.begin_response());
        assert!(!state.begin_response(), "answered twice");
    }
}
