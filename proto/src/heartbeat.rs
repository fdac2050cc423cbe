// SPDX-License-Identifier: GPL-2.0-only

//! Whether the other side of a path is still there.
//!
//! Every [`INTERVAL_MS`] a timer ticks. The first tick after a sign of life sends a
//! heartbeat; the following ones only count. Anything that is received is a sign
//! of life, an acknowledged heartbeat in particular. After more than
//! [`MISSED_MAX`] silent ticks the path is dead, 30 s after the last heartbeat.

use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering;

/// Time between two ticks in milliseconds.
pub const INTERVAL_MS: u32 = 5_000;
/// Ticks without a sign of life that are put up with.
pub const MISSED_MAX: u32 = 5;

/// What to do at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send a heartbeat.
    Send,
    /// One is under way: nothing.
    Wait,
    /// Give up on the path.
    Dead,
}

/// Account of the heartbeats of one path.
///
/// One timer calls [`Self::tick`]; any number of completions, on any CPU, call
/// [`Self::heard`].
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Ticks since the last sign of life.
    silent: AtomicU32,
}

impl Heartbeat {
    /// A path that was just connected.
    pub const fn new() -> Self {
        Self {
            silent: AtomicU32::new(0),
        }
    }

    /// Something was received.
    #[inline]
    pub fn heard(&self) {
        // Completions call this all the time: leave the cache line shared if there
        // is nothing to change. A tick in between is harmless, it counts as silent
        // until the next completion.
        if self.silent.load(Ordering::Relaxed) != 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// The timer ticked.
    pub fn tick(&self) -> Beat {
        let silent = self.silent.load(Ordering::Relaxed);
        if silent > MISSED_MAX {
            return Beat::Dead;
        }
        // If a sign of life came in since, it wins.
        let counted =
            self.silent
                .compare_exchange(silent, silent + 1, Ordering::Relaxed, Ordering::Relaxed);
        match (silent, counted) {
            (0, _) => Beat::Send,
            _ => Beat::Wait,
        }
    }
}
