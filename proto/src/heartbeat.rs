// SPDX-License-Identifier: GPL-2.0-only

//! Heartbeats: whether the peer of a path still responds.
//!
//! A timer ticks every [`INTERVAL_MS`]. The first tick after a message was received sends a
//! heartbeat; later ticks only count. Any message of the peer resets the count, in particular
//! the acknowledgement of a heartbeat. After more than [`MISSED_MAX`] silent ticks, 30 s after
//! the heartbeat, the path is dead.
//!
//! The time from a heartbeat to its acknowledgement is the latency of the path. While an
//! acknowledgement is missing the latency grows at each tick, so that a path that stalls does
//! not look as fast as it was.

use crate::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering, //
};

/// Time between two ticks in milliseconds.
pub const INTERVAL_MS: u32 = 5_000;
/// Tolerated number of ticks without a message.
const MISSED_MAX: u32 = 5;

/// Time of a heartbeat when no acknowledgement is awaited.
const NEVER: u64 = u64::MAX;

/// The action to take at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Send a heartbeat.
    Send,
    /// Do nothing: a heartbeat is in flight.
    Wait,
    /// Give up the path.
    Dead,
}

/// Heartbeat state of one path.
///
/// One timer calls [`Self::tick`]; any number of completions, on any CPU, call
/// [`Self::received`] and [`Self::acked`]. Times are in nanoseconds, of one monotonic
/// clock.
#[derive(Debug)]
pub struct Heartbeat {
    /// Ticks since the last message.
    silent_ticks: AtomicU32,
    /// When the oldest heartbeat without acknowledgement was sent, or [`NEVER`].
    sent_ns: AtomicU64,
    latency_ns: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

impl Heartbeat {
    /// Creates the state of a path that was just connected.
    pub const fn new() -> Self {
        Self {
            silent_ticks: AtomicU32::new(0),
            sent_ns: AtomicU64::new(NEVER),
            latency_ns: AtomicU64::new(0),
        }
    }

    /// Records that a message was received.
    #[inline]
    pub fn received(&self) {
        // Each completion calls this: leave the cache line shared if there is nothing to
        // change. A tick in between is harmless, it counts as silent until the next completion.
        if self.silent_ticks.load(Ordering::Relaxed) != 0 {
            self.silent_ticks.store(0, Ordering::Relaxed);
        }
    }

    /// Records an acknowledgement, after it was [received](Self::received).
    ///
    /// It is taken for that of the oldest heartbeat without one. An unexpected acknowledgement
    /// does not change the latency.
    pub fn acked(&self, now_ns: u64) {
        let sent_ns = self.sent_ns.swap(NEVER, Ordering::Relaxed);
        if sent_ns != NEVER {
            let latency_ns = now_ns.saturating_sub(sent_ns);
            self.latency_ns.store(latency_ns, Ordering::Relaxed);
        }
    }

    /// Returns the latency of the last acknowledged heartbeat, or how long the present one has
    /// been waiting if that is longer; 0 before the first acknowledgement.
    #[inline]
    pub fn latency_ns(&self) -> u64 {
        self.latency_ns.load(Ordering::Relaxed)
    }

    /// Counts a tick and returns the action to take.
    pub fn tick(&self, now_ns: u64) -> HeartbeatAction {
        let silent = self.silent_ticks.load(Ordering::Relaxed);
        if silent > MISSED_MAX {
            return HeartbeatAction::Dead;
        }
        let sent_ns = self.sent_ns.load(Ordering::Relaxed);
        if sent_ns != NEVER {
            let age_ns = now_ns.saturating_sub(sent_ns);
            self.latency_ns.fetch_max(age_ns, Ordering::Relaxed);
        }
        // A message that was received meanwhile wins.
        let _ = self.silent_ticks.compare_exchange(
            silent,
            silent + 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if silent > 0 {
            return HeartbeatAction::Wait;
        }
        // An older heartbeat without acknowledgement keeps its time.
        let _ = self
            .sent_ns
            .compare_exchange(NEVER, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        HeartbeatAction::Send
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_goes_back_gives_no_latency() {
        let heartbeat = Heartbeat::default();
        assert_eq!(heartbeat.tick(u64::MAX - 1), HeartbeatAction::Send);
        heartbeat.acked(5);
        assert_eq!(heartbeat.latency_ns(), 0);
    }

    proptest! {
        /// A path is dead after exactly the right number of silent ticks. The latency is that
        /// of the last acknowledged heartbeat, or the age of the oldest one without
        /// acknowledgement at the last tick, if that is more.
        #[test]
        fn heartbeat_follows_the_model(events in prop::collection::vec((0..3u8, 0..10_000u64), 0..100)) {
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
