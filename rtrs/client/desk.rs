// SPDX-License-Identifier: GPL-2.0-only

//! Where a session keeps the requests that no path can carry at the moment, and
//! the account of its paths that says whether they wait or fail.

use super::order::Order;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Release;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;
use rnbd_proto::flow::Epoch;
use rnbd_proto::flow::Flow;
use rnbd_proto::flow::Life;
use rnbd_proto::flow::Standing;
use rnbd_proto::wire::rnbd::MAX_MSG_SIZE;

/// The desk of a session.
#[pin_data]
pub(super) struct Desk {
    /// For readers without the lock.
    view: AtomicU32,
    /// Likewise: [`Epoch::mark`] of the time in which the server knows the devices, or 0.
    known: AtomicU64,
    #[pin]
    inner: SpinLock<Inner>,
}

/// What I/O sees of a session: the flow, and how often something changed.
///
/// # Invariants
///
/// The lowest bits are the place of the flow in `Flow::ALL`; the count of changes
/// is above them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct View(u32);

const FLOW_BITS: u32 = 2;

impl View {
    const FIRST: Self = Self(Flow::Failing as u32);

    /// What to do with I/O.
    #[inline]
    pub(super) fn flow(self) -> Flow {
        let index = self.0 & ((1 << FLOW_BITS) - 1);
        let flow = Flow::ALL.get(index as usize);
        flow.copied().unwrap_or(Flow::Failing)
    }

    /// After one more change.
    fn next(self, flow: Flow) -> Self {
        // INVARIANT: Changes wrap above the bits of the flow.
        let changes = (self.0 >> FLOW_BITS).wrapping_add(1);
        Self((changes << FLOW_BITS) | flow as u32)
    }
}

/// Why a request was not parked.
pub(super) enum Refusal {
    /// Something changed since the view was taken: look again.
    Outdated(Order),
    /// It is not going to be sent, because of this.
    Ended(Order, Error),
}

struct Inner {
    life: Life,
    /// By permit. Empty before the session is connected for the first time.
    parked: KVec<Option<Order>>,
}

/// What changed for the session with one of its paths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) before: Flow,
    pub(super) after: Flow,
    /// When that was.
    pub(super) epoch: Epoch,
}

impl Desk {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            view: AtomicU32::new(View::FIRST.0),
            known: AtomicU64::new(0),
            inner <- new_spinlock!(
                Inner { life: Life::new(), parked: KVec::new() },
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
    pub(super) fn view(&self) -> View {
        // INVARIANT: Only views are stored. Who sees one sees what was done to the
        // paths before.
        View(self.view.load(Acquire))
    }

    fn update<R>(&self, f: impl FnOnce(&mut Life) -> R) -> (R, Change) {
        let mut inner = self.inner.lock();
        let before = inner.life.flow();
        let answer = f(&mut inner.life);
        let after = inner.life.flow();
        let epoch = inner.life.epoch();
        let known = inner.life.known().map_or(0, Epoch::mark);
        self.known.store(known, Release);
        self.view.store(self.view().next(after).0, Release);
        let change = Change {
            before,
            after,
            epoch,
        };
        (answer, change)
    }

    /// A path has another standing.
    pub(super) fn change(&self, standing: &SpinLock<Standing>, to: Standing) -> Change {
        self.update(|life| life.change(&mut standing.lock(), to)).1
    }

    /// Whether a path is up.
    pub(super) fn is_up(&self) -> bool {
        self.inner.lock().life.is_up()
    }

    /// The time in which the server knows the devices, as [`Epoch::mark`]; 0 when it
    /// does not.
    #[inline]
    pub(super) fn known(&self) -> u64 {
        self.known.load(Acquire)
    }

    /// I/O has waited long enough.
    pub(super) fn expire(&self) -> Change {
        self.update(Life::expire).1
    }

    /// The time in which the server must be told of the devices, if that is due.
    pub(super) fn introduction(&self) -> Option<Epoch> {
        self.inner.lock().life.introduction()
    }

    /// The server was told. False when all paths were lost meanwhile.
    pub(super) fn introduced(&self, epoch: Epoch) -> bool {
        self.update(|life| life.introduced(epoch)).0
    }

    /// Keeps a request that could not be sent as things were in `view`, until
    /// [`Desk::take`], which follows each change.
    pub(super) fn park(&self, order: Order, view: View) -> core::result::Result<(), Refusal> {
        let mut inner = self.inner.lock();
        if self.view() != view {
            return Err(Refusal::Outdated(order));
        }
        if view.flow() == Flow::Failing {
            return Err(Refusal::Ended(order, ENOTCONN));
        }
        // Within the lock, so that who makes messages fail and takes everything out
        // after that misses nothing.
        if let Err(e) = order.io.message(&mut [0; MAX_MSG_SIZE]) {
            return Err(Refusal::Ended(order, e));
        }
        match inner.parked.get_mut(order.permit.index()) {
            Some(place) if place.is_none() => {
                *place = Some(order);
                Ok(())
            }
            _ => Err(Refusal::Ended(order, EINVAL)),
        }
    }

    /// Takes out the request of a permit, if there is one.
    pub(super) fn take(&self, permit: usize) -> Option<Order> {
        self.inner.lock().parked.get_mut(permit)?.take()
    }

    /// Number of permits.
    pub(super) fn places(&self) -> usize {
        self.inner.lock().parked.len()
    }
}
