// SPDX-License-Identifier: GPL-2.0-only

//! When, and how often, to try to connect a lost path again.

/// Shortest delay in milliseconds.
pub const DELAY_MS: u32 = 30_000;
/// A random time up to this one is added, in milliseconds, so that not all paths
/// of all clients come back at the same moment.
pub const JITTER_MS: u32 = 8_000;

/// Fewest attempts that can be set: no end.
pub const MIN_ATTEMPTS: i32 = -1;
/// Most attempts that can be set.
pub const MAX_ATTEMPTS: i32 = 9999;

/// Attempts to connect a path again.
///
/// # Invariants
///
/// `limit`, if any, is at most [`MAX_ATTEMPTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    limit: Option<u32>,
    done: u32,
}

impl Backoff {
    /// At most `max_attempts` attempts, no end to them if that is -1.
    pub fn new(max_attempts: i32) -> Option<Self> {
        let limit = match max_attempts {
            MIN_ATTEMPTS => None,
            0..=MAX_ATTEMPTS => Some(max_attempts.unsigned_abs()),
            _ => return None,
        };
        // INVARIANT: Bounded by the match.
        Some(Self { limit, done: 0 })
    }

    /// Delay in milliseconds before the next attempt, unless all are used up.
    ///
    /// `random` is any random number.
    pub fn next_delay_ms(&mut self, random: u32) -> Option<u32> {
        if self.limit.is_some_and(|limit| self.done >= limit) {
            return None;
        }
        self.done = self.done.saturating_add(1);
        Some(DELAY_MS + random % (JITTER_MS + 1))
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
