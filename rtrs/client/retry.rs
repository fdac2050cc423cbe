// SPDX-License-Identifier: GPL-2.0-only

//! When a path is connected again.

use crate::support::rand;
use kernel::time::Delta;
use kernel::time::Instant;
use kernel::time::Monotonic;
use rnbd_proto::backoff::Backoff;

/// Attempts to connect a path.
pub(super) struct Retry {
    backoff: Backoff,
    lives: u16,
    /// When the last attempt began.
    began: Option<Instant<Monotonic>>,
}

impl Retry {
    /// No attempts yet.
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::UNLIMITED,
            lives: 0,
            began: None,
        }
    }

    /// An attempt begins; answers the number of those before. The server tells
    /// links of a path by it, also one that it has not noticed the end of.
    pub(super) fn begin_life(&mut self) -> u16 {
        self.began = Some(Instant::now());
        let lives = self.lives;
        self.lives = self.lives.wrapping_add(1);
        lives
    }

    /// When to try again, of at most `limit` attempts (-1: no end).
    ///
    /// Counted from when the last attempt began: one that waits long for an
    /// answer must not put the next one off.
    pub(super) fn next_delay(&mut self, limit: i32) -> Option<Delta> {
        self.backoff.set_limit(limit)?;
        let first = self.backoff.attempts() == 0;
        let delay = self.backoff.next_delay_ms(rand::u32())?;
        if first {
            return Some(FIRST_DELAY);
        }
        let spent = self
            .began
            .map_or(0, |began| began.elapsed().as_millis_ceil());
        let left = i64::from(delay).saturating_sub(spent);
        Some(Delta::from_millis(left).max(FIRST_DELAY))
    }

    /// The path is up, or somebody wants it to be: counts from zero.
    pub(super) fn forget_attempts(&mut self) {
        self.backoff.connected();
    }
}

/// How long the first attempt after a loss is put off: a peer that is restarted
/// in good order is back at once.
const FIRST_DELAY: Delta = Delta::from_secs(1);
