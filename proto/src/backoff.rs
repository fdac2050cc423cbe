// SPDX-License-Identifier: GPL-2.0-only

//! When, and how often, to try to connect a lost path again.
//!
//! How often is what users write to and read from `max_reconnect_attempts`, see
//! [`parse_max_attempts`] and [`Backoff::max_attempts`].

use crate::text;
use crate::text::NotANumber;

/// Shortest delay in milliseconds.
pub const DELAY_MS: u32 = 30_000;
/// A random time up to this one is added, in milliseconds, so that not all paths
/// of all clients come back at the same moment.
pub const JITTER_MS: u32 = 8_000;

/// Fewest attempts that can be set: no end.
pub const MIN_ATTEMPTS: i32 = -1;
/// Most attempts that can be set.
pub const MAX_ATTEMPTS: i32 = 9999;

/// Reads `max_reconnect_attempts`: an integer from -1 to 9999.
pub fn parse_max_attempts(text: &[u8]) -> Result<i32, NotANumber> {
    match text::integer(text)? {
        max if in_range(max) => Ok(max),
        _ => Err(NotANumber::Malformed),
    }
}

const fn in_range(max_attempts: i32) -> bool {
    matches!(max_attempts, MIN_ATTEMPTS..=MAX_ATTEMPTS)
}

/// Attempts to connect a path again.
///
/// # Invariants
///
/// `max` is from [`MIN_ATTEMPTS`] to [`MAX_ATTEMPTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    max: i32,
    done: u32,
}

impl Backoff {
    /// No end to the attempts.
    pub const UNLIMITED: Self = Self {
        max: MIN_ATTEMPTS,
        done: 0,
    };

    /// At most `max_attempts` attempts, no end to them if that is -1.
    pub fn new(max_attempts: i32) -> Option<Self> {
        // INVARIANT: Checked here.
        in_range(max_attempts).then_some(Self {
            max: max_attempts,
            done: 0,
        })
    }

    /// Allows another number of attempts, of which those already made are a part.
    ///
    /// Fails, with nothing changed, if the number is out of range.
    #[must_use]
    pub fn set_limit(&mut self, max_attempts: i32) -> Option<()> {
        // INVARIANT: Checked here.
        in_range(max_attempts).then(|| self.max = max_attempts)
    }

    /// Attempts that are allowed, as users read it.
    pub const fn max_attempts(&self) -> i32 {
        self.max
    }

    /// Delay in milliseconds before the next attempt, unless all are used up.
    ///
    /// `random` is any random number.
    pub fn next_delay_ms(&mut self, random: u32) -> Option<u32> {
        if self.is_used_up() {
            return None;
        }
        self.done = self.done.saturating_add(1);
        Some(DELAY_MS + random % (JITTER_MS + 1))
    }

    /// Whether no more attempts are allowed.
    pub const fn is_used_up(&self) -> bool {
        self.max != MIN_ATTEMPTS && self.done >= self.max.unsigned_abs()
    }

    /// Attempts made since the path was up.
    pub const fn attempts(&self) -> u32 {
        self.done
    }

    /// The path is up: the next time counts from zero.
    pub fn connected(&mut self) {
        self.done = 0;
    }
}
