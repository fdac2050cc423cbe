// SPDX-License-Identifier: GPL-2.0-only

//! When, and how often, to try to connect a lost path again.
//!
//! How often is what users write to and read from `max_reconnect_attempts`, see
//! [`parse_max_attempts`] and [`ReconnectBackoff::max_attempts`].

use crate::text;
use crate::text::ParseNumberError;

/// Shortest delay before the first attempt, in milliseconds: a peer that is restarted
/// in good order is back at once.
pub const FIRST_DELAY_MS: u32 = 500;
/// A random time up to this one is added, in milliseconds, so that not all paths
/// of all clients come back at the same moment.
pub const FIRST_JITTER_MS: u32 = 1_000;
/// Shortest time from the beginning of an attempt to the next one, in milliseconds.
pub const DELAY_MS: u32 = 30_000;
/// A random time up to this one is added, in milliseconds.
pub const JITTER_MS: u32 = 8_000;

/// Fewest attempts that can be set: no end.
pub const MIN_ATTEMPTS: i32 = -1;
/// Most attempts that can be set.
pub const MAX_ATTEMPTS: i32 = 9999;

/// Reads `max_reconnect_attempts`: an integer from -1 to 9999.
pub fn parse_max_attempts(text: &[u8]) -> Result<i32, ParseNumberError> {
    match text::integer(text)? {
        max if in_range(max) => Ok(max),
        _ => Err(ParseNumberError::Malformed),
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
pub struct ReconnectBackoff {
    max: i32,
    done: u32,
}

impl ReconnectBackoff {
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
    /// `spent_ms` is how long ago the last attempt began: one that waits long for an
    /// answer must not put the next one off. After one that took longer than the delay,
    /// the next one is put off as little as the first. `random` is any random number.
    pub fn next_delay_ms(&mut self, spent_ms: u32, random: u32) -> Option<u32> {
        if self.is_used_up() {
            return None;
        }
        let least = FIRST_DELAY_MS + random % (FIRST_JITTER_MS + 1);
        let delay = match self.done {
            0 => least,
            _ => (DELAY_MS + random % (JITTER_MS + 1)).saturating_sub(spent_ms),
        };
        self.done = self.done.saturating_add(1);
        Some(delay.max(least))
    }

    /// Whether an attempt that was planned is one too many, as fewer are allowed by now.
    pub const fn is_exceeded(&self) -> bool {
        self.max != MIN_ATTEMPTS && self.done > self.max.unsigned_abs()
    }

    /// Whether no more attempts are allowed.
    pub const fn is_used_up(&self) -> bool {
        self.max != MIN_ATTEMPTS && self.done >= self.max.unsigned_abs()
    }

    /// Attempts planned since the path was up.
    pub const fn attempts(&self) -> u32 {
        self.done
    }

    /// The path is up: the next time counts from zero.
    pub fn connected(&mut self) {
        self.done = 0;
    }
}
