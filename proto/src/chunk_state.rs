// SPDX-License-Identifier: GPL-2.0-only

//! State of one of the server's chunks: free, with a request, or with a response.
//!
//! ```text
//!       request_arrived           begin_response             response_sent
//!  Free ---------------> Serving ----------------> Responding -----------> Free
//!                           ^                          | request_arrived
//!                           |     response_sent        v
//!                           +--------------- Responding, one waits
//! ```
//!
//! A client may use a chunk again as soon as it receives the response. That can be before the
//! server learns that the response was sent, and over another connection. So one request may
//! arrive early, and waits. Any other request for a chunk in use violates the protocol.

use crate::atomic::{
    AtomicU64,
    Ordering, //
};

const FREE: u64 = 0;
const SERVING: u64 = 1;
const RESPONDING: u64 = 2;
const WAITING: u64 = 3;
const STATE_BITS: u32 = 2;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;

/// The location of a request: its connection, and the offset of the message in the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLocation {
    /// Id of the connection.
    pub connection: u16,
    /// Offset of the RTRS message in bytes.
    pub offset: u32,
}

impl RequestLocation {
    /// Returns the state of a chunk with a request waiting at this location.
    const fn to_state(self) -> u64 {
        let location = ((self.offset as u64) << u16::BITS) | self.connection as u64;
        (location << STATE_BITS) | WAITING
    }

    const fn from_state(state: u64) -> Self {
        let location = state >> STATE_BITS;
        Self {
            connection: location as u16,
            offset: (location >> u16::BITS) as u32,
        }
    }
}

/// The action to take for a request that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalAction {
    /// Serve it.
    Serve,
    /// The request waits; [`ChunkState::response_sent`] will return it.
    Wait,
    /// The chunk is in use: the client violated the protocol.
    Violation,
}

/// The state of one chunk.
///
/// # Invariants
///
/// The lowest bits are the state. While a request waits, its [`RequestLocation`] is above them.
#[derive(Debug, Default)]
pub struct ChunkState(AtomicU64);

impl ChunkState {
    /// Creates the state of a free chunk.
    pub const fn new() -> Self {
        Self(AtomicU64::new(FREE))
    }

    /// Records that a request arrived.
    #[inline]
    pub fn request_arrived(&self, location: RequestLocation) -> ArrivalAction {
        let old = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| match state {
                FREE => Some(SERVING),
                RESPONDING => Some(location.to_state()),
                _ => None,
            });
        match old {
            Ok(FREE) => ArrivalAction::Serve,
            Ok(_) => ArrivalAction::Wait,
            Err(_) => ArrivalAction::Violation,
        }
    }

    /// Records that a request arrived, if the chunk is free. Returns whether it was; the request is
    /// to be served then.
    #[inline]
    pub fn serve_if_free(&self) -> bool {
        self.0
            .compare_exchange(FREE, SERVING, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Records that the response is about to be posted. Returns false, and changes nothing, if no
    /// request is being served.
    #[inline]
    pub fn begin_response(&self) -> bool {
        self.0
            .compare_exchange(SERVING, RESPONDING, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Records that the response was sent. Returns the request that waits, if any, to be served
    /// now.
    #[inline]
    pub fn response_sent(&self) -> Option<RequestLocation> {
        let old = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
                match state & STATE_MASK {
                    RESPONDING => Some(FREE),
                    WAITING => Some(SERVING),
                    _ => None,
                }
            });
        match old {
            Ok(state) if state & STATE_MASK == WAITING => Some(RequestLocation::from_state(state)),
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
    fn a_chunk_is_served_responded_to_and_free_again() {
        let state = ChunkState::new();
        for _ in 0..3 {
            assert_eq!(state.request_arrived(FIRST), ArrivalAction::Serve);
            assert!(state.begin_response());
            assert_eq!(state.response_sent(), None);
        }
    }

    #[test]
    fn an_early_request_waits_and_keeps_its_location() {
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
        assert!(state.serve_if_free());
        assert!(!state.serve_if_free());
        assert_eq!(state.request_arrived(FIRST), ArrivalAction::Violation);
        assert_eq!(state.response_sent(), None, "no response yet");
        assert!(state.begin_response());
        assert!(!state.begin_response(), "two responses");
    }
}
