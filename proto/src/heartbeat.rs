// SPDX-License-Identifier: GPL-2.0-only

//! Whether the other side of a path is still there.
//!
//! Every [`INTERVAL_MS`] a timer ticks. The first tick after a sign of life sends a
//! heartbeat; the following ones only count. Anything that is received is a sign
//! of life, an acknowledged heartbeat in particular. After more than
//! [`MISSED_MAX`] silent ticks the path is dead, 30 s after the last heartbeat.
//!
//! The time from a heartbeat to its acknowledgement is the latency of the path. One
//! that is not acknowledged makes it grow at each tick, so that a path that stalls does
//! not look as quick as it was.

use crate::atomic::AtomicU32;
use crate::atomic::AtomicU64;
use crate::atomic::Ordering;

/// Time between two ticks in milliseconds.
pub const INTERVAL_MS: u32 = 5_000;
/// Ticks without a sign of life that are put up with.
const MISSED_MAX: u32 = 5;

/// No time: of no heartbeat an acknowledgement is awaited.
const NEVER: u64 = u64::MAX;

/// What to do at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
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
/// [`Self::received`] and [`Self::acked`]. Times are those of one clock that never
/// goes back, in nanoseconds.
#[derive(Debug)]
pub struct Heartbeat {
    /// Ticks since the last sign of life.
    silent: AtomicU32,
    /// When the oldest heartbeat was sent whose acknowledgement is awaited, or [`NEVER`].
    sent_ns: AtomicU64,
    latency_ns: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

impl Heartbeat {
    /// A path that was just connected.
    pub const fn new() -> Self {
        Self {
            silent: AtomicU32::new(0),
            sent_ns: AtomicU64::new(NEVER),
            latency_ns: AtomicU64::new(0),
        }
    }

    /// Something was received.
    #[inline]
    pub fn received(&self) {
        // Completions call this all the time: leave the cache line shared if there
        // is nothing to change. A tick in between is harmless, it counts as silent
        // until the next completion.
        if self.silent.load(Ordering::Relaxed) != 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// A heartbeat was acknowledged, which had been [received](Self::received) before.
    ///
    /// It belongs to the oldest heartbeat that was not acknowledged. One that nobody
    /// awaits says nothing of the latency.
    pub fn acked(&self, now_ns: u64) {
        let sent_ns = self.sent_ns.swap(NEVER, Ordering::Relaxed);
        if sent_ns != NEVER {
            let latency_ns = now_ns.saturating_sub(sent_ns);
            self.latency_ns.store(latency_ns, Ordering::Relaxed);
        }
    }

    /// Time from the last acknowledged heartbeat to its acknowledgement, or how long the
    /// acknowledgement has been awaited if that is longer; 0 before the first one.
    #[inline]
    pub fn latency_ns(&self) -> u64 {
        self.latency_ns.load(Ordering::Relaxed)
    }

    /// The timer ticked.
    pub fn tick(&self, now_ns: u64) -> HeartbeatAction {
        let silent = self.silent.load(Ordering::Relaxed);
        if silent > MISSED_MAX {
            return HeartbeatAction::Dead;
        }
        let sent_ns = self.sent_ns.load(Ordering::Relaxed);
        if sent_ns != NEVER {
            let age_ns = now_ns.saturating_sub(sent_ns);
            self.latency_ns.fetch_max(age_ns, Ordering::Relaxed);
        }
        // If a sign of life came in since, it wins.
        let counted =
            self.silent
                .compare_exchange(silent, silent + 1, Ordering::Relaxed, Ordering::Relaxed);
        match (silent, counted) {
            (0, _) => {
                // One that was sent before and is not acknowledged yet keeps its time.
                let _ = self.sent_ns.compare_exchange(
                    NEVER,
                    now_ns,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                HeartbeatAction::Send
            }
            _ => HeartbeatAction::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let heartbeat = Heartbeat::default();
        assert_eq!(heartbeat.tick(u64::MAX - 1), HeartbeatAction::Send);
        heartbeat.acked(5);
        assert_eq!(heartbeat.latency_ns(), 0);
    }

    proptest! {
        /// A path is given up after exactly as many silent ticks as it should be, and
        /// the latency is that of the last heartbeat that was answered, or what the oldest
        /// unanswered one has taken by the last tick if that is more.
        #[test]
        fn heartbeat(events in prop::collection::vec((0..3u8, 0..10_000u64), 0..100)) {
            let heartbeat = Heartbeat::new();
            let (mut silent, mut now, mut sent, mut latency) = (0, 0, None, 0);
            for (event, pause) in events {
                now += pause;
                match event {
                    0 => {
                        let expected = match silent {
                            0 => HeartbeatAction::Send,
                            n if n > MISSED_MAX => HeartbeatAction::Dead,
                            _ => HeartbeatAction::Wait,
                        };
                        prop_assert_eq!(heartbeat.tick(now), expected);
                        if silent <= MISSED_MAX {
                            latency = sent.map_or(latency, |sent| latency.max(now - sent));
                        }
                        if silent == 0 {
                            sent = sent.or(Some(now));
                        }
                        silent += 1;
                    }
                    1 => {
                        heartbeat.received();
                        silent = 0;
                    }
                    _ => {
                        heartbeat.acked(now);
                        latency = sent.take().map_or(latency, |sent| now - sent);
                    }
                }
                prop_assert_eq!(heartbeat.latency_ns(), latency);
            }
        }
    }
}
