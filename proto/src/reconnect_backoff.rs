// SPDX-License-Identifier: GPL-2.0-only

//! Delay before, and number of, the attempts to reconnect a lost path.
//!
//! Users set the number of attempts in `max_reconnect_attempts`, see [`parse_max_attempts`].
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::reconnect_backoff::ReconnectBackoff;
//!
//! let mut backoff = ReconnectBackoff::new(2).expect("within -1..=9999");
//! // The path was lost: the first attempt begins soon.
//! assert_eq!(backoff.next_delay_ms(0, 0), Some(500));
//! // It took 10 s to fail; attempts begin 30 s after each other.
//! assert_eq!(backoff.next_delay_ms(10_000, 0), Some(20_000));
//! // Both attempts failed.
//! assert_eq!(backoff.next_delay_ms(10_000, 0), None);
//! ```

use crate::text::{
    self,
    ParseNumberError, //
};

/// Shortest delay before the first attempt, in milliseconds: a peer that was restarted
/// cleanly is back at once.
const FIRST_DELAY_MS: u32 = 500;
/// Largest random addition to [`FIRST_DELAY_MS`], in milliseconds. It keeps the paths of all
/// clients from reconnecting at the same moment.
const FIRST_JITTER_MS: u32 = 1_000;
/// Shortest time from the start of an attempt to the start of the next one, in milliseconds.
const DELAY_MS: u32 = 30_000;
/// Largest random addition to [`DELAY_MS`], in milliseconds.
const JITTER_MS: u32 = 8_000;

/// Smallest number of attempts that users can set: no limit.
pub const MIN_ATTEMPTS: i32 = -1;
/// Largest number of attempts that users can set.
pub const MAX_ATTEMPTS: i32 = 9999;

/// Parses `max_reconnect_attempts`: an integer from -1 to 9999.
pub fn parse_max_attempts(text: &[u8]) -> Result<i32, ParseNumberError> {
    match text::parse_i32(text)? {
        max if in_range(max) => Ok(max),
        _ => Err(ParseNumberError::Malformed),
    }
}

/// Returns whether users can set this number of attempts.
pub const fn in_range(max_attempts: i32) -> bool {
    matches!(max_attempts, MIN_ATTEMPTS..=MAX_ATTEMPTS)
}

/// Attempts to reconnect one path.
///
/// # Invariants
///
/// `max` is from [`MIN_ATTEMPTS`] to [`MAX_ATTEMPTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconnectBackoff {
    max: i32,
    /// Attempts since the path was up.
    attempts: u32,
}

impl ReconnectBackoff {
    /// A number of attempts without a limit.
    pub const UNLIMITED: Self = Self {
        max: MIN_ATTEMPTS,
        attempts: 0,
    };

    /// Allows `max_attempts` attempts, or any number if that is -1.
    pub fn new(max_attempts: i32) -> Option<Self> {
        // INVARIANT: Checked here.
        in_range(max_attempts).then_some(Self {
            max: max_attempts,
            attempts: 0,
        })
    }

    /// Changes the number of allowed attempts. Those already made count.
    ///
    /// Returns `None`, and changes nothing, if the number is out of range.
    #[must_use]
    pub fn set_limit(&mut self, max_attempts: i32) -> Option<()> {
        // INVARIANT: Checked here.
        in_range(max_attempts).then(|| self.max = max_attempts)
    }

    /// Counts the next attempt and returns the delay before it in milliseconds, or `None` if
    /// all attempts are used up.
    ///
    /// `spent_ms` is the time since the last attempt began: waiting for a response does not
    /// delay the next attempt. After an attempt that took longer than the delay, the next one
    /// begins as soon as the first. `random` is any random number.
    pub fn next_delay_ms(&mut self, spent_ms: u32, random: u32) -> Option<u32> {
        if self.is_used_up() {
            return None;
        }
        let first = FIRST_DELAY_MS + random % (FIRST_JITTER_MS + 1);
        let delay = match self.attempts {
            0 => first,
            _ => (DELAY_MS + random % (JITTER_MS + 1)).saturating_sub(spent_ms),
        };
        self.attempts = self.attempts.saturating_add(1);
        Some(delay.max(first))
    }

    /// Returns the number of attempts since the path was up, a planned one included.
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Takes back the next attempt, already counted, which is not going to be made.
    pub const fn withdraw(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// Returns whether the next attempt, already counted, is no longer allowed because the limit
    /// was lowered.
    pub const fn is_exceeded(&self) -> bool {
        self.max != MIN_ATTEMPTS && self.attempts > self.max.unsigned_abs()
    }

    /// Returns whether all attempts are used up.
    const fn is_used_up(&self) -> bool {
        self.max != MIN_ATTEMPTS && self.attempts >= self.max.unsigned_abs()
    }

    /// Resets the number of attempts, as the path is up.
    pub fn connected(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn backoff_ends_and_starts_again() {
        let mut backoff = ReconnectBackoff::new(3).unwrap();
        for _ in 0..2 {
            let delays = std::iter::from_fn(|| backoff.next_delay_ms(0, 0)).count();
            assert_eq!((delays, backoff.attempts), (3, 3));
            backoff.connected();
        }
        // Fewer than were made, then more.
        let _all = std::iter::from_fn(|| backoff.next_delay_ms(0, 0)).count();
        assert!(!backoff.is_exceeded());
        assert_eq!(backoff.set_limit(2), Some(()));
        assert!(backoff.is_exceeded());
        assert_eq!(backoff.next_delay_ms(0, 0), None);
        assert_eq!(backoff.attempts(), 3, "more were made than are allowed now");
        backoff.withdraw();
        assert_eq!(backoff.attempts(), 2, "the third one was only planned");
        assert_eq!(backoff.set_limit(3), Some(()));
        assert_eq!(backoff.next_delay_ms(0, 0), Some(DELAY_MS));
        assert_eq!(backoff.next_delay_ms(0, JITTER_MS), None);
        let mut endless = ReconnectBackoff::new(-1).unwrap();
        assert!((0..20_000).all(|i| endless.next_delay_ms(i, i).is_some()));
    }

    proptest! {
        /// Attempts end at the present limit. Delays are within their bounds: the first one is
        /// short, and so is each one after an attempt that took long.
        #[test]
        fn backoff(
            limit in -5..20i32,
            steps in prop::collection::vec((0..8u8, -5..20i32, 0..60_000u32, any::<u32>()), 0..60),
        ) {
            let made = ReconnectBackoff::new(limit);
            prop_assert_eq!(made.is_some(), limit >= -1);
            let Some(mut backoff) = made else {
                return Ok(());
            };
            let (mut limit, mut done) = (limit, 0);
            for (step, number, spent, random) in steps {
                match step {
                    0 => {
                        backoff.connected();
                        done = 0;
                    }
                    1 => {
                        let set = backoff.set_limit(number).is_some();
                        prop_assert_eq!(set, number >= -1);
                        limit = if set { number } else { limit };
                    }
                    _ => {
                        let delay = backoff.next_delay_ms(spent, random);
                        prop_assert_eq!(delay.is_some(), limit == -1 || done < limit);
                        let (least, most) = match done {
                            0 => (FIRST_DELAY_MS, FIRST_DELAY_MS + FIRST_JITTER_MS),
                            _ => (
                                DELAY_MS.saturating_sub(spent).max(FIRST_DELAY_MS),
                                (DELAY_MS + JITTER_MS)
                                    .saturating_sub(spent)
                                    .max(FIRST_DELAY_MS + FIRST_JITTER_MS),
                            ),
                        };
                        prop_assert!(delay.is_none_or(|ms| (least..=most).contains(&ms)));
                        done += i32::from(delay.is_some());
                    }
                }
                prop_assert_eq!(i64::from(backoff.attempts), i64::from(done));
                prop_assert_eq!(backoff.is_exceeded(), limit != -1 && done > limit);
                prop_assert_eq!(backoff.max, limit);
            }
        }

        /// The same numbers can be set and written.
        #[test]
        fn max_attempts(max in prop_oneof![-5..5i32, 9_990..10_010i32, any::<i32>()]) {
            let mut backoff = ReconnectBackoff::new(0).unwrap();
            let valid = (-1..=9999).contains(&max).then_some(max);
            prop_assert_eq!(parse_max_attempts(format!("{max}\n").as_bytes()).ok(), valid);
            prop_assert_eq!(ReconnectBackoff::new(max).map(|made| made.max), valid);
            prop_assert_eq!(backoff.set_limit(max).map(|()| backoff.max), valid);
        }
    }
}
