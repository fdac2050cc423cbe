// SPDX-License-Identifier: GPL-2.0-only

//! The requests of a session that no path can carry at the moment, and the state of the
//! session, which says whether they wait or fail.

use core::sync::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering::{
        Acquire,
        Release, //
    }, //
};

use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};

use rnbd_proto::session_state::{
    Epoch,
    PathAvailability,
    SessionState,
    SessionTracker, //
};

use super::io_request::IoRequest;

/// Waiting requests by permit, and the state that decides about them.
#[pin_data]
pub(super) struct RequeueList {
    /// A [`StateSnapshot`], for readers without the lock.
    snapshot: AtomicU32,
    /// [`Epoch::as_nonzero`] of the epoch in which the server knows the devices, or 0; for
    /// readers without the lock.
    open_epoch: AtomicU64,
    #[pin]
    inner: SpinLock<Inner>,
}

/// State of a session, and how often anything changed.
///
/// # Invariants
///
/// The lowest bits are the index of the state in `SessionState::ALL`; the count of changes
/// is above them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StateSnapshot(u32);

const STATE_BITS: u32 = 2;

impl StateSnapshot {
    const FIRST: Self = Self(SessionState::Failing as u32);

    /// Returns the state.
    #[inline]
    pub(super) fn state(self) -> SessionState {
        let index = self.0 & ((1 << STATE_BITS) - 1);
        let state = SessionState::ALL.get(index as usize);
        state.copied().unwrap_or(SessionState::Failing)
    }

    /// Returns whether I/O is sent.
    #[inline]
    pub(super) fn is_live(self) -> bool {
        self.0 % (1 << STATE_BITS) == SessionState::Live as u32
    }

    /// Returns the snapshot after one more change.
    fn next(self, state: SessionState) -> Self {
        // INVARIANT: Changes wrap above the bits of the state.
        let changes = (self.0 >> STATE_BITS).wrapping_add(1);
        Self((changes << STATE_BITS) | state as u32)
    }
}

/// Reason why a request was not queued.
pub(super) enum RequeueError {
    /// Something changed since the snapshot was taken: decide again.
    Outdated(IoRequest),
    /// The request must fail with this error.
    Failed(IoRequest, Error),
}

struct Inner {
    tracker: SessionTracker,
    /// By permit. Empty before the session is connected for the first time.
    requests: KVec<Option<IoRequest>>,
}

/// A change of the state of the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StateChange {
    pub(super) before: SessionState,
    pub(super) after: SessionState,
    /// The epoch after the change.
    pub(super) epoch: Epoch,
}

impl RequeueList {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            snapshot: AtomicU32::new(StateSnapshot::FIRST.0),
            open_epoch: AtomicU64::new(0),
            inner <- new_spinlock!(
                Inner { tracker: SessionTracker::new(), requests: KVec::new() },
                "rtrs_client_requeue"
            ),
        })
    }

    /// Allocates a slot for each of `depth` permits.
    pub(super) fn allocate(&self, depth: u32) -> Result {
        let mut requests = KVec::with_capacity(depth as usize, GFP_KERNEL)?;
        for _ in 0..depth {
            requests.push(None, GFP_KERNEL)?;
        }
        self.inner.lock().requests = requests;
        Ok(())
    }

    /// Returns the present state. Without the lock: it may change at any time.
    #[inline]
    pub(super) fn snapshot(&self) -> StateSnapshot {
        // INVARIANT: Only snapshots are stored. A reader that sees one also sees the changes
        // of paths before it.
        StateSnapshot(self.snapshot.load(Acquire))
    }

    fn update<R>(&self, f: impl FnOnce(&mut SessionTracker) -> R) -> (R, StateChange) {
        let mut inner = self.inner.lock();
        let before = inner.tracker.state();
        let result = f(&mut inner.tracker);
        let after = inner.tracker.state();
        let epoch = inner.tracker.epoch();
        let open_epoch = inner.tracker.open_epoch().map_or(0, Epoch::as_nonzero);
        self.open_epoch.store(open_epoch, Release);
        self.snapshot.store(self.snapshot().next(after).0, Release);
        let change = StateChange {
            before,
            after,
            epoch,
        };
        (result, change)
    }

    /// Changes the availability of a path.
    pub(super) fn set_availability(
        &self,
        availability: &SpinLock<PathAvailability>,
        to: PathAvailability,
    ) -> StateChange {
        self.update(|tracker| tracker.set_availability(&mut availability.lock(), to))
            .1
    }

    /// Whether a path is up.
    pub(super) fn is_up(&self) -> bool {
        self.inner.lock().tracker.is_up()
    }

    /// Returns the epoch in which the server knows the devices, as [`Epoch::as_nonzero`]; 0
    /// if it does not know them.
    #[inline]
    pub(super) fn open_epoch(&self) -> u64 {
        self.open_epoch.load(Acquire)
    }

    /// Makes I/O fail that has waited for `fast_io_fail_tmo`.
    pub(super) fn expire(&self) -> StateChange {
        self.update(SessionTracker::expire).1
    }

    /// Returns the epoch in which the devices must be opened again, if they must.
    pub(super) fn reopen_due(&self) -> Option<Epoch> {
        self.inner.lock().tracker.reopen_due()
    }

    /// Records that the devices are open. Without effect if all paths were lost since
    /// `epoch`.
    pub(super) fn mark_reopened(&self, epoch: Epoch) -> StateChange {
        self.update(|tracker| tracker.mark_reopened(epoch)).1
    }

    /// Queues a request that could not be sent in the state of `snapshot`, until the next
    /// [`RequeueList::take`], which follows each change.
    pub(super) fn push(
        &self,
        request: IoRequest,
        snapshot: StateSnapshot,
    ) -> core::result::Result<(), RequeueError> {
        let mut inner = self.inner.lock();
        if self.snapshot() != snapshot {
            return Err(RequeueError::Outdated(request));
        }
        if snapshot.state() == SessionState::Failing {
            return Err(RequeueError::Failed(request, ENOTCONN));
        }
        // Under the lock: a caller that first makes new messages fail and then drains the
        // list cannot miss one. Either this sees that messages fail, or that caller takes
        // the lock later and finds the request.
        if let Err(e) = request.payload.check() {
            return Err(RequeueError::Failed(request, e));
        }
        match inner.requests.get_mut(request.permit.index()) {
            Some(slot) if slot.is_none() => {
                *slot = Some(request);
                Ok(())
            }
            _ => Err(RequeueError::Failed(request, EINVAL)),
        }
    }

    /// Takes out the request of a permit, if there is one.
    pub(super) fn take(&self, permit: usize) -> Option<IoRequest> {
        self.inner.lock().requests.get_mut(permit)?.take()
    }

    /// Returns the number of permits.
    pub(super) fn depth(&self) -> usize {
        self.inner.lock().requests.len()
    }
}
