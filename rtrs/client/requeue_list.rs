// SPDX-License-Identifier: GPL-2.0-only

//! Where a session keeps the requests that no path can carry at the moment, and
//! the account of its paths that says whether they wait or fail.

use super::io_request::IoRequest;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Release;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;
use rnbd_proto::session_state::Epoch;
use rnbd_proto::session_state::PathAvailability;
use rnbd_proto::session_state::SessionState;
use rnbd_proto::session_state::SessionTracker;
use rnbd_proto::wire::rnbd::MAX_MSG_SIZE;

/// The desk of a session.
#[pin_data]
pub(super) struct RequeueList {
    /// For readers without the lock.
    view: AtomicU32,
    /// Likewise: [`Epoch::as_nonzero`] of the time in which the server knows the devices, or 0.
    known: AtomicU64,
    #[pin]
    inner: SpinLock<Inner>,
}

/// What I/O sees of a session: the flow, and how often something changed.
///
/// # Invariants
///
/// The lowest bits are the place of the flow in `SessionState::ALL`; the count of changes
/// is above them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StateSnapshot(u32);

const FLOW_BITS: u32 = 2;

impl StateSnapshot {
    const FIRST: Self = Self(SessionState::Failing as u32);

    /// What to do with I/O.
    #[inline]
    pub(super) fn flow(self) -> SessionState {
        let index = self.0 & ((1 << FLOW_BITS) - 1);
        let flow = SessionState::ALL.get(index as usize);
        flow.copied().unwrap_or(SessionState::Failing)
    }

    /// After one more change.
    fn next(self, flow: SessionState) -> Self {
        // INVARIANT: Changes wrap above the bits of the flow.
        let changes = (self.0 >> FLOW_BITS).wrapping_add(1);
        Self((changes << FLOW_BITS) | flow as u32)
    }
}

/// Why a request was not parked.
pub(super) enum RequeueError {
    /// Something changed since the view was taken: look again.
    Outdated(IoRequest),
    /// It is not going to be sent, because of this.
    Ended(IoRequest, Error),
}

struct Inner {
    tracker: SessionTracker,
    /// By permit. Empty before the session is connected for the first time.
    parked: KVec<Option<IoRequest>>,
}

/// What changed for the session with one of its paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StateChange {
    pub(super) before: SessionState,
    pub(super) after: SessionState,
    /// When that was.
    pub(super) epoch: Epoch,
}

impl RequeueList {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            view: AtomicU32::new(StateSnapshot::FIRST.0),
            known: AtomicU64::new(0),
            inner <- new_spinlock!(
                Inner { tracker: SessionTracker::new(), parked: KVec::new() },
                "rtrs_client_desk"
            ),
        })
    }

    /// Makes room for as many requests as there are permits.
    pub(super) fn furnish(&self, permits: u32) -> Result {
        let mut places = KVec::with_capacity(permits as usize, GFP_KERNEL)?;
        for _ in 0..permits {
            places.push(None, GFP_KERNEL)?;
        }
        self.inner.lock().parked = places;
        Ok(())
    }

    /// How things are. A look without the lock: it may change at any time.
    #[inline]
    pub(super) fn view(&self) -> StateSnapshot {
        // INVARIANT: Only views are stored. Who sees one sees what was done to the
        // paths before.
        StateSnapshot(self.view.load(Acquire))
    }

    fn update<R>(&self, f: impl FnOnce(&mut SessionTracker) -> R) -> (R, StateChange) {
        let mut inner = self.inner.lock();
        let before = inner.tracker.state();
        let answer = f(&mut inner.tracker);
        let after = inner.tracker.state();
        let epoch = inner.tracker.epoch();
        let known = inner.tracker.open_epoch().map_or(0, Epoch::as_nonzero);
        self.known.store(known, Release);
        self.view.store(self.view().next(after).0, Release);
        let change = StateChange {
            before,
            after,
            epoch,
        };
        (answer, change)
    }

    /// A path has another standing.
    pub(super) fn change(
        &self,
        standing: &SpinLock<PathAvailability>,
        to: PathAvailability,
    ) -> StateChange {
        self.update(|tracker| tracker.set_availability(&mut standing.lock(), to))
            .1
    }

    /// Whether a path is up.
    pub(super) fn is_up(&self) -> bool {
        self.inner.lock().tracker.is_up()
    }

    /// The time in which the server knows the devices, as [`Epoch::as_nonzero`]; 0 when it
    /// does not.
    #[inline]
    pub(super) fn known(&self) -> u64 {
        self.known.load(Acquire)
    }

    /// I/O has waited long enough.
    pub(super) fn expire(&self) -> StateChange {
        self.update(SessionTracker::expire).1
    }

    /// The time in which the server must be told of the devices, if that is due.
    pub(super) fn introduction(&self) -> Option<Epoch> {
        self.inner.lock().tracker.reopen_due()
    }

    /// The server was told. False when all paths were lost meanwhile.
    pub(super) fn introduced(&self, epoch: Epoch) -> bool {
        self.update(|tracker| tracker.mark_reopened(epoch)).0
    }

    /// Keeps a request that could not be sent as things were in `view`, until
    /// [`RequeueList::take`], which follows each change.
    pub(super) fn park(
        &self,
        order: IoRequest,
        view: StateSnapshot,
    ) -> core::result::Result<(), RequeueError> {
        let mut inner = self.inner.lock();
        if self.view() != view {
            return Err(RequeueError::Outdated(order));
        }
        if view.flow() == SessionState::Failing {
            return Err(RequeueError::Ended(order, ENOTCONN));
        }
        // Within the lock, so that who makes messages fail and takes everything out
        // after that misses nothing.
        if let Err(e) = order.io.message(&mut [0; MAX_MSG_SIZE]) {
            return Err(RequeueError::Ended(order, e));
        }
        match inner.parked.get_mut(order.permit.index()) {
            Some(place) if place.is_none() => {
                *place = Some(order);
                Ok(())
            }
            _ => Err(RequeueError::Ended(order, EINVAL)),
        }
    }

    /// Takes out the request of a permit, if there is one.
    pub(super) fn take(&self, permit: usize) -> Option<IoRequest> {
        self.inner.lock().parked.get_mut(permit)?.take()
    }

    /// Number of permits.
    pub(super) fn places(&self) -> usize {
        self.inner.lock().parked.len()
    }
}
