// SPDX-License-Identifier: GPL-2.0-only

//! Order among the requests that a session sends under one message id.
//!
//! ```text
//!           enter              wait
//!  Free -----------> Busy <-----------> Awaited
//!   ^ ^    leave     ^  |   withdraw       |
//!   | +--------------|--+                  | leave
//!   |                +------ take -----+   v
//!   +---------------- withdraw -------- Ready
//! ```
//!
//! A client that loses a path sends what was in flight there again, over
//! another path, under the same id. The server may still be executing the first
//! copy. The second one waits for its end, as otherwise the first could
//! overwrite what a later request wrote.
//!
//! At most one waits. A client has one request of an id at a time, so when
//! another one comes it has given up the one that waits.
//!
//! Entering a lane that is free and leaving one that nobody awaits is one atomic
//! operation each. The others need the [`ResendWaiter`] of the lane, and thereby
//! exclude each other.

use crate::atomic::AtomicU32;
use crate::atomic::Ordering::AcqRel;
use crate::atomic::Ordering::Acquire;
use crate::atomic::Ordering::Relaxed;
use crate::atomic::Ordering::Release;

const FREE: u32 = 0;
/// A request is being executed.
const BUSY: u32 = 1;
/// The same, and another one waits.
const AWAITED: u32 = 2;
/// None is being executed; the one that waited is to be.
const READY: u32 = 3;

/// The state of one message id.
///
/// # Invariants
///
/// One of the four states. Only who has the [`ResendWaiter`] changes it to or from
/// `READY` and `AWAITED`, but for `leave`, which makes `AWAITED` `READY`. While
/// nobody has the place, a request is in it in these two states and no other.
#[derive(Debug, Default)]
pub struct ResendOrder(AtomicU32);

/// Where the request waits that is next in a lane. One for each lane, under a
/// lock.
#[derive(Debug)]
pub struct ResendWaiter<W>(Option<W>);

impl<W> ResendWaiter<W> {
    /// A place where nobody waits.
    pub const fn new() -> Self {
        Self(None)
    }
}

impl<W> Default for ResendWaiter<W> {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of a request that found its lane taken.
#[derive(Debug, PartialEq, Eq)]
pub enum WaitOutcome<W> {
    /// The lane was free meanwhile: execute it.
    Entered(W),
    /// It waits.
    Waits,
    /// It waits in place of this one, which was never executed.
    Replaced(W),
}

impl ResendOrder {
    /// A lane that is free.
    pub const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    /// Whether the lane was free and now is the caller's, to execute a request.
    #[inline]
    pub fn enter(&self) -> bool {
        self.0
            .compare_exchange(FREE, BUSY, Acquire, Relaxed)
            .is_ok()
    }

    /// The request that had the lane was executed. True when one waits, which is
    /// to be [taken](Self::take).
    #[inline]
    #[must_use = "a request that waits would do so for ever"]
    pub fn leave(&self) -> bool {
        let free = self.0.compare_exchange(BUSY, FREE, Release, Relaxed);
        if free.is_ok() {
            return false;
        }
        // INVARIANT: The place is not touched. A withdrawal in between makes it
        // `BUSY` again, and then nobody waits.
        let left = self.0.fetch_update(AcqRel, Relaxed, |state| match state {
            BUSY => Some(FREE),
            AWAITED => Some(READY),
            _ => None,
        });
        left == Ok(AWAITED)
    }

    /// Lets `waiter`, which could not enter, wait.
    pub fn wait<W>(&self, place: &mut ResendWaiter<W>, waiter: W) -> WaitOutcome<W> {
        // INVARIANT: `waiter` is put into the place below, in the states that
        // ask for it; `leave` makes none of the others of them.
        let entered = self.0.fetch_update(AcqRel, Acquire, |state| match state {
            FREE => Some(BUSY),
            BUSY => Some(AWAITED),
            _ => None,
        });
        if entered == Ok(FREE) {
            return WaitOutcome::Entered(waiter);
        }
        match place.0.replace(waiter) {
            Some(old) => WaitOutcome::Replaced(old),
            None => WaitOutcome::Waits,
        }
    }

    /// Whether the request in the place is to be executed now. A hint.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.0.load(Relaxed) == READY
    }

    /// The request that waited, if it is its turn. The lane is the caller's
    /// then, to execute it.
    pub fn take<W>(&self, place: &mut ResendWaiter<W>) -> Option<W> {
        // INVARIANT: The place is emptied.
        let taken = self.0.compare_exchange(READY, BUSY, Acquire, Relaxed);
        taken.ok().and_then(|_| place.0.take())
    }

    /// Takes the request that waits out, if `leaves` says so: it is not going to
    /// be executed.
    pub fn withdraw<W>(
        &self,
        place: &mut ResendWaiter<W>,
        leaves: impl FnOnce(&W) -> bool,
    ) -> Option<W> {
        if !place.0.as_ref().is_some_and(leaves) {
            return None;
        }
        // INVARIANT: The place is emptied. It was not empty, so this is one of
        // the two states.
        let _ = self.0.fetch_update(AcqRel, Relaxed, |state| match state {
            AWAITED => Some(BUSY),
            READY => Some(FREE),
            _ => None,
        });
        place.0.take()
    }
}
