// SPDX-License-Identifier: GPL-2.0-only

//! Life of a path, on both sides.
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

use crate::atomic::AtomicU8;
use crate::atomic::Ordering;

/// States that a [`StateCell`] can hold.
pub trait State: Copy + Eq + 'static {
    /// All states; the first is the one a path starts in.
    const ALL: &'static [Self];

    /// Whether a path may go from this state to `next`.
    fn may_become(self, next: Self) -> bool;
}

/// State of a path at the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Connections are being made.
    Connecting,
    /// Making them failed.
    ConnectingErr,
    /// Lost, to be connected again.
    Reconnecting,
    /// In use.
    Connected,
    /// Being taken down at somebody's request.
    Closing,
    /// Down at somebody's request.
    Closed,
    /// Never to be used again.
    Dead,
}

impl ClientState {
    /// The state as users read it.
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
    /// Connections are coming in.
    Connecting,
    /// In use.
    Connected,
    /// Being taken down.
    Closing,
    /// Down; to be freed.
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

/// A state that only changes along its rules, read without a lock.
///
/// # Invariants
///
/// `index` is the place of a state in `S::ALL`.
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
    /// A cell in the first state.
    pub const fn new() -> Self {
        // INVARIANT: No `S::ALL` is empty.
        Self {
            index: AtomicU8::new(0),
            states: PhantomData,
        }
    }

    fn state(index: u8) -> S {
        // The first one is never asked for, by the type invariant.
        let state = S::ALL.get(usize::from(index));
        *state.unwrap_or(&S::ALL[0])
    }

    /// The state now. What was written before a change into it is visible.
    #[inline]
    pub fn get(&self) -> S {
        Self::state(self.index.load(Ordering::Acquire))
    }

    /// Changes to `next` and returns the state before, or, if that does not allow
    /// the change, fails with the state as it stays.
    ///
    /// Of several threads that try the same change, one succeeds.
    pub fn change(&self, next: S) -> Result<S, S> {
        let Some(to) = S::ALL.iter().position(|s| *s == next) else {
            return Err(self.get());
        };
        // INVARIANT: `to` was just found in `S::ALL`.
        self.index
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |from| {
                Self::state(from).may_become(next).then_some(to as u8)
            })
            .map(Self::state)
            .map_err(Self::state)
    }

    /// As [`Self::change`], but only from the state `from`.
    pub fn change_from(&self, from: S, next: S) -> Result<S, S> {
        let place = |state: S| S::ALL.iter().position(|s| *s == state);
        let (Some(old), Some(new), true) = (place(from), place(next), from.may_become(next)) else {
            return Err(self.get());
        };
        // INVARIANT: `new` was just found in `S::ALL`.
        self.index
            .compare_exchange(old as u8, new as u8, Ordering::AcqRel, Ordering::Acquire)
            .map(Self::state)
            .map_err(Self::state)
    }
}
