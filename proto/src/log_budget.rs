// SPDX-License-Identifier: GPL-2.0-only

//! How many lines of a kind each peer may cause in the log.
//!
//! A place in the code that logs has a [`LogBudget`]: a peer gets [`BURST`] lines of it in
//! [`WINDOW`] seconds, so that one that floods the log does not silence the lines about the
//! others. The number of peers is theirs to choose, so there are [`PEERS`] budgets at a time;
//! all further peers have one in common. That bounds what a place logs, whoever causes it.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::log_budget::LogBudget;
//! use rnbd_proto::log_budget::BURST;
//!
//! let budget = LogBudget::new();
//! let (noisy, quiet, now) = (7, 8, 100);
//!
//! let logged = (0..1000).filter(|_| budget.take(noisy, now).is_some()).count();
//! assert_eq!(logged, BURST as usize);
//! assert_eq!(budget.take(quiet, now), Some(0));
//! assert_eq!(budget.take(noisy, now + 5), Some(990), "so many were left out");
//! ```

use crate::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering::Relaxed, //
};

/// Lines of one peer in one window.
pub const BURST: u32 = 10;
/// Length of a window in seconds.
pub const WINDOW: u64 = 5;
/// Peers that have a budget of their own at a time.
pub const PEERS: usize = 16;

/// The lines of one peer.
struct Slot {
    /// The peer; 0 for none.
    peer: AtomicU64,
    /// When the window ends, in seconds.
    end: AtomicU64,
    /// Lines asked for in the window.
    asked: AtomicU32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            peer: AtomicU64::new(0),
            end: AtomicU64::new(0),
            asked: AtomicU32::new(0),
        }
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.end.load(Relaxed)
    }

    fn take(&self, now: u64) -> Option<u32> {
        let end = self.end.load(Relaxed);
        let next = now.saturating_add(WINDOW);
        if now >= end
            && self
                .end
                .compare_exchange(end, next, Relaxed, Relaxed)
                .is_ok()
        {
            let asked = self.asked.swap(1, Relaxed);
            return Some(asked.saturating_sub(BURST));
        }
        (self.asked.fetch_add(1, Relaxed) < BURST).then_some(0)
    }
}

/// The lines of one place in the code.
///
/// A race costs at most some lines too many or too few.
pub struct LogBudget {
    slots: [Slot; PEERS],
    others: Slot,
}

impl LogBudget {
    /// Creates a budget of which nothing is used up.
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; PEERS],
            others: Slot::new(),
        }
    }

    /// Takes a line for `peer`, a number that is not 0, at `now`, the uptime in seconds. Returns
    /// `None` if the line must be left out, otherwise the number of lines left out before it,
    /// of this peer or of the one that had its budget before.
    pub fn take(&self, peer: u64, now: u64) -> Option<u32> {
        self.slot(peer, now).take(now)
    }

    fn slot(&self, peer: u64, now: u64) -> &Slot {
        let of_peer = |slot: &&Slot| slot.peer.load(Relaxed) == peer;
        // One whose window is over is given to the next peer that asks.
        let claim = |slot: &&Slot| {
            let before = slot.peer.load(Relaxed);

            slot.is_over(now)
                && slot
                    .peer
                    .compare_exchange(before, peer, Relaxed, Relaxed)
                    .is_ok()
        };

        self.slots
            .iter()
            .find(of_peer)
            .or_else(|| self.slots.iter().find(claim))
            .unwrap_or(&self.others)
    }
}

impl Default for LogBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flood(budget: &LogBudget, peer: u64, now: u64) -> usize {
        (0..100)
            .filter(|_| budget.take(peer, now).is_some())
            .count()
    }

    #[test]
    fn a_peer_that_floods_the_log_leaves_the_lines_of_others() {
        let budget = LogBudget::new();
        for now in [0, 1, 1000] {
            let quiet = now + 1;
            assert!(flood(&budget, 1_000_000 + now, now) > 0);
            assert_eq!(budget.take(quiet, now), Some(0), "at {now}");
        }
    }

    #[test]
    fn more_peers_than_budgets_share_one() {
        let budget = LogBudget::new();
        let peers = 1..=1000_u64;
        let logged: usize = peers.map(|peer| flood(&budget, peer, 7)).sum();
        assert_eq!(logged, BURST as usize * (PEERS + 1));
        // The next window is for whoever comes first in it.
        assert_eq!(flood(&budget, 2000, 7 + WINDOW), BURST as usize);
    }

    #[test]
    fn a_line_says_how_many_were_left_out() {
        let budget = LogBudget::new();
        assert_eq!(flood(&budget, 1, 0), BURST as usize);
        assert_eq!(budget.take(1, WINDOW - 1), None);
        assert_eq!(budget.take(1, WINDOW), Some(91));
        assert_eq!(budget.take(1, WINDOW), Some(0));
    }

    proptest! {
        /// Whatever peers do, a place logs a bounded number of lines in a window.
        #[test]
        fn a_place_logs_a_bounded_number_of_lines(
            asked in prop::collection::vec((1..40_u64, 0..3_u64), 0..2000),
        ) {
            let budget = LogBudget::new();
            let mut now = 0;
            let mut logged = std::collections::VecDeque::new();
            for (peer, pause) in asked {
                now += pause / 2;
                if budget.take(peer, now).is_some() {
                    logged.push_back(now);
                }
                while logged.front().is_some_and(|at| at + WINDOW <= now) {
                    logged.pop_front();
                }
                // A window of a slot may begin at any time, so two of them may touch this one.
                prop_assert!(logged.len() <= 2 * BURST as usize * (PEERS + 1));
            }
        }
    }
}
