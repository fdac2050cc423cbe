// SPDX-License-Identifier: GPL-2.0-only

//! Policy of reconnects: when a path is connected again.

use kernel::time::{
    Delta,
    Instant,
    Monotonic, //
};

use rnbd_proto::reconnect_backoff::ReconnectBackoff;

use crate::kernel_ext::{
    millis_ceil,
    random, //
};

/// What follows a lost path, or an attempt that failed.
pub(super) enum NextAttempt {
    /// Another attempt, after this time.
    After(Delta),
    /// No other one. This many were made.
    NoMore { made: u32 },
}

/// Account of the attempts to connect a path.
pub(super) struct Reconnect {
    backoff: ReconnectBackoff,
    recon_count: u16,
    /// When the last attempt began.
    began: Option<Instant<Monotonic>>,
}

impl Reconnect {
    /// Starts without attempts.
    pub(super) fn new() -> Self {
        Self {
            backoff: ReconnectBackoff::UNLIMITED,
            recon_count: 0,
            began: None,
        }
    }

    /// Begins an attempt; returns the number of those before. The server tells links of a
    /// path apart by it, also one whose end it has not noticed.
    pub(super) fn begin_attempt(&mut self) -> u16 {
        self.began = Some(Instant::now());
        let recon_count = self.recon_count;
        self.recon_count = self.recon_count.wrapping_add(1);
        recon_count
    }

    /// Plans the next attempt, of at most `limit` (-1: any number).
    pub(super) fn plan_attempt(&mut self, limit: i32) -> NextAttempt {
        let spent = self.began.map_or(0, |began| millis_ceil(began.elapsed()));
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        let delay = match self.backoff.set_limit(limit) {
            Some(()) => self.backoff.next_delay_ms(spent, random::u32()),
            None => None,
        };
        match delay {
            Some(delay) => NextAttempt::After(Delta::from_millis(delay.into())),
            None => NextAttempt::NoMore {
                made: self.backoff.attempts(),
            },
        }
    }

    /// Withdraws the planned attempt, which is not allowed any more.
    pub(super) fn withdraw_attempt(&mut self) -> NextAttempt {
        self.backoff.withdraw();
        NextAttempt::NoMore {
            made: self.backoff.attempts(),
        }
    }

    /// Whether the planned attempt exceeds `limit`.
    pub(super) fn exceeds(&mut self, limit: i32) -> bool {
        self.backoff.set_limit(limit).is_some() && self.backoff.is_exceeded()
    }

    /// Counts from 0 again, as the path is up or a user asked for it.
    pub(super) fn reset_attempts(&mut self) {
        self.backoff.connected();
    }
}
