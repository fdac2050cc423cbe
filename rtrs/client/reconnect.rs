// SPDX-License-Identifier: GPL-2.0-only

//! When a path is connected again.

use crate::kernel_ext::random;
use kernel::time::Delta;
use kernel::time::Instant;
use kernel::time::Monotonic;
use rnbd_proto::reconnect_backoff::ReconnectBackoff;

/// Attempts to connect a path.
pub(super) struct Reconnect {
    backoff: ReconnectBackoff,
    lives: u16,
    /// When the last attempt began.
    began: Option<Instant<Monotonic>>,
}

impl Reconnect {
    /// No attempts yet.
    pub(super) fn new() -> Self {
        Self {
            backoff: ReconnectBackoff::UNLIMITED,
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
    pub(super) fn next_delay(&mut self, limit: i32) -> Option<Delta> {
        self.backoff.set_limit(limit)?;
        let spent = self
            .began
            .map_or(0, |began| began.elapsed().as_millis_ceil());
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        let delay = self.backoff.next_delay_ms(spent, random::u32())?;
        Some(Delta::from_millis(delay.into()))
    }

    /// Whether the attempt that was planned is not to be made, of at most `limit`.
    pub(super) fn exceeds(&mut self, limit: i32) -> bool {
        self.backoff.set_limit(limit).is_some() && self.backoff.is_exceeded()
    }

    /// The path is up, or somebody wants it to be: counts from zero.
    pub(super) fn forget_attempts(&mut self) {
        self.backoff.connected();
    }
}
