// SPDX-License-Identifier: GPL-2.0-only

//! States of a path, at the client and at the server.
//!
//! ```text
//! client                                             server
//!
//!          +-> ConnectingErr -+                      Connecting --> Connected
//!          |                  v                            |           |
//! Connecting <--------- Reconnecting <--+                  +--> Closing <-+
//!     |                       ^         |                         |
//!     +----> Connected -------+         |                         v
//!                                       |                      Closed
//! any of these -> Closing -> Closed ----+
//!                               |
//!                               +-> Dead
//! ```

use core::marker::PhantomData;

use crate::atomic::{
    AtomicU8,
    Ordering, //
};

/// The states of a state machine in a [`StateCell`].
pub trait State: Copy + Eq + 'static {
    /// All states; a path starts in the first one.
    const ALL: &'static [Self];

    /// Returns whether a path may change from this state to `next`.
    fn may_become(self, next: Self) -> bool;
}

/// State of a path at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Connections are being made.
    Connecting,
    /// An attempt to connect failed.
    ConnectingErr,
    /// The path was lost and waits for the next attempt.
    Reconnecting,
    /// In use.
    Connected,
    /// Connections are being closed because a user asked for it.
    Closing,
    /// Closed because a user asked for it.
    Closed,
    /// The path is being removed.
    Dead,
}

impl ClientState {
    /// Returns the state as users read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            _ => "disconnected",
        }
    }
}

impl State for ClientState {
    const ALL: &'static [Self] = &[
        Self::Connecting,
        Self::ConnectingErr,
        Self::Reconnecting,
        Self::Connected,
        Self::Closing,
        Self::Closed,
        Self::Dead,
    ];

    fn may_become(self, next: Self) -> bool {
        use ClientState as S;

        matches!(
            (self, next),
            (S::Connecting, S::Connected | S::ConnectingErr | S::Closing)
                | (S::ConnectingErr, S::Reconnecting | S::Closing)
                | (S::Connected, S::Reconnecting | S::Closing)
                | (S::Reconnecting, S::Connecting | S::Closing)
                | (S::Closing, S::Closed)
                | (S::Closed, S::Reconnecting | S::Dead)
        )
    }
}

/// State of a path at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Connections are being accepted.
    Connecting,
    /// In use.
    Connected,
    /// Connections are being closed.
    Closing,
    /// Closed; about to be freed.
    Closed,
}

impl State for ServerState {
    const ALL: &'static [Self] = &[
        Self::Connecting,
        Self::Connected,
        Self::Closing,
        Self::Closed,
    ];

    fn may_become(self, next: Self) -> bool {
        use ServerState as S;

        matches!(
            (self, next),
            (S::Connecting, S::Connected | S::Closing)
                | (S::Connected, S::Closing)
                | (S::Closing, S::Closed)
        )
    }
}

/// A state that changes only as [`State::may_become`] allows, and is read without a lock.
///
/// # Invariants
///
/// `index` is the index of a state in `S::ALL`.
#[derive(Debug)]
pub struct StateCell<S> {
    index: AtomicU8,
    states: PhantomData<S>,
}

impl<S: State> Default for StateCell<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: State> StateCell<S> {
    /// Creates a cell in the first state.
    pub const fn new() -> Self {
        // INVARIANT: No `S::ALL` is empty.
        Self {
            index: AtomicU8::new(0),
            states: PhantomData,
        }
    }

    #[inline]
    fn state(index: u8) -> S {
        // The index is valid by the type invariant, so the default is never used.
        let state = S::ALL.get(usize::from(index));
        *state.unwrap_or(&S::ALL[0])
    }

    /// Returns the present state. Writes before the change to it are visible.
    #[inline]
    pub fn get(&self) -> S {
        Self::state(self.index.load(Ordering::Acquire))
    }

    /// Changes the state to `next` and returns the previous one. If that does not allow the
    /// change, fails with the state, which stays.
    ///
    /// Of several threads that attempt the same change, one succeeds.
    pub fn change(&self, next: S) -> Result<S, S> {
        let Some(new) = S::ALL.iter().position(|s| *s == next) else {
            return Err(self.get());
        };
        // INVARIANT: `new` was just found in `S::ALL`.
        self.index
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| {
                Self::state(old).may_become(next).then_some(new as u8)
            })
            .map(Self::state)
            .map_err(Self::state)
    }

    /// Like [`Self::change`], but only from the state `from`.
    pub fn change_from(&self, from: S, next: S) -> Result<S, S> {
        let index = |state: S| S::ALL.iter().position(|s| *s == state);
        let (Some(old), Some(new), true) = (index(from), index(next), from.may_become(next)) else {
            return Err(self.get());
        };
        // INVARIANT: `new` was just found in `S::ALL`.
        self.index
            .compare_exchange(old as u8, new as u8, Ordering::AcqRel, Ordering::Acquire)
            .map(Self::state)
            .map_err(Self::state)
    }
}
