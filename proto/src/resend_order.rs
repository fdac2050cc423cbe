// SPDX-License-Identifier: GPL-2.0-only

//! Order between a request and its resend, which have the same message id.
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
//! A client that loses a path resends the requests that were in flight there over another
//! path, under the same ids. The server may still be executing the first copy of a request.
//! The second copy waits until the first has completed: executed side by side, the first one
//! could overwrite the data of a later request.
//!
//! At most one request waits. A client has one request in flight for each id, so when another
//! one arrives the client has given up the one that waits.
//!
//! To enter a free id, and to leave one without a waiting request, is one atomic operation
//! each. The other operations need the [`ResendWaiter`] of the id, whose lock serializes them.

use crate::atomic::{
    AtomicU32,
    Ordering::{
        AcqRel,
        Acquire,
        Relaxed,
        Release, //
    }, //
};

const FREE: u32 = 0;
/// A request is being executed.
const BUSY: u32 = 1;
/// A request is being executed, and another one waits.
const AWAITED: u32 = 2;
/// No request is being executed; the one that waited is next.
const READY: u32 = 3;

/// The state of one message id.
///
/// # Invariants
///
/// The value is one of the four states. Only the holder of the [`ResendWaiter`] changes it to
/// or from `READY` and `AWAITED`, except that `leave` changes `AWAITED` to `READY`. While the
/// [`ResendWaiter`] is not held, it contains a request in these two states and in no other.
#[derive(Debug, Default)]
pub struct ResendOrder(AtomicU32);

/// The request that waits for a message id, if any. There is one for each id, under a lock.
#[derive(Debug)]
pub struct ResendWaiter<W>(Option<W>);

impl<W> ResendWaiter<W> {
    /// Creates one without a request.
    pub const fn new() -> Self {
        Self(None)
    }
}

impl<W> Default for ResendWaiter<W> {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome of [`ResendOrder::wait`].
#[derive(Debug, PartialEq, Eq)]
pub enum WaitOutcome<W> {
    /// The id became free meanwhile: execute the request.
    Entered(W),
    /// The request waits.
    Waits,
    /// The request waits in place of this one, which will not be executed.
    Replaced(W),
}

impl ResendOrder {
    /// Creates a free id.
    pub const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    /// Marks the id busy if it is free. When true, the caller executes its request.
    #[inline]
    pub fn enter(&self) -> bool {
        self.0
            .compare_exchange(FREE, BUSY, Acquire, Relaxed)
            .is_ok()
    }

    /// Ends the execution of a request. When true, another request waits, and the caller must
    /// see that it is [taken](Self::take).
    #[inline]
    #[must_use = "otherwise a request that waits does so forever"]
    pub fn leave(&self) -> bool {
        let free = self.0.compare_exchange(BUSY, FREE, Release, Relaxed);
        free.is_err() && self.leave_to_waiter()
    }

    /// As [`Self::leave`], if there was another request that waited.
    #[cold]
    fn leave_to_waiter(&self) -> bool {
        // INVARIANT: The waiter is not changed. `withdraw` may have changed the state back to
        // `BUSY` meanwhile; then no request waits.
        let left = self.0.fetch_update(AcqRel, Relaxed, |state| match state {
            BUSY => Some(FREE),
            AWAITED => Some(READY),
            _ => None,
        });
        left == Ok(AWAITED)
    }

    /// Lets `request`, which could not enter, wait.
    pub fn wait<W>(&self, waiter: &mut ResendWaiter<W>, request: W) -> WaitOutcome<W> {
        // INVARIANT: In the two states with a waiting request, `request` is stored below;
        // `leave` does not change any other state to one of these.
        let entered = self.0.fetch_update(AcqRel, Acquire, |state| match state {
            FREE => Some(BUSY),
            BUSY => Some(AWAITED),
            _ => None,
        });
        if entered == Ok(FREE) {
            return WaitOutcome::Entered(request);
        }
        match waiter.0.replace(request) {
            Some(old) => WaitOutcome::Replaced(old),
            None => WaitOutcome::Waits,
        }
    }

    /// Returns whether the request that waits is next. A hint.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.0.load(Relaxed) == READY
    }

    /// Takes the request that waited, if it is next. The id is busy again; the caller executes
    /// the request.
    pub fn take<W>(&self, waiter: &mut ResendWaiter<W>) -> Option<W> {
        // INVARIANT: The waiter is emptied.
        let taken = self.0.compare_exchange(READY, BUSY, Acquire, Relaxed);
        taken.ok().and_then(|_| waiter.0.take())
    }

    /// Removes the request that waits, if `matches` returns true for it. It will not be
    /// executed.
    pub fn withdraw<W>(
        &self,
        waiter: &mut ResendWaiter<W>,
        matches: impl FnOnce(&W) -> bool,
    ) -> Option<W> {
        if !waiter.0.as_ref().is_some_and(matches) {
            return None;
        }
        // INVARIANT: The waiter is emptied. It was not empty, so the state is one of these two.
        let _ = self.0.fetch_update(AcqRel, Relaxed, |state| match state {
            AWAITED => Some(BUSY),
            READY => Some(FREE),
            _ => None,
        });
        waiter.0.take()
    }
}
