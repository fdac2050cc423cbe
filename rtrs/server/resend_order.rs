// SPDX-License-Identifier: GPL-2.0-only

//! Order between a request and its resend over another path of the session; see
//! [`rnbd_proto::resend_order`].
//!
//! A request enters its message id when it arrives, not when the service gets it. Until then it
//! may be queued on a path that the client has already replaced, and the data that it would write
//! may be newer than the data that its message was sent for.
//!
//! Entering and leaving an id without contention takes no lock. A request that must wait is stored
//! here until the request before it ends, which may be in interrupt context; then a work item of
//! the session hands it to the service.

use kernel::{
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    sync::{
        Mutex,
        SpinLockIrq, //
    }, //
};

use rnbd_proto::{
    limits::{
        BufId,
        QueueDepth, //
    },
    resend_order::{
        ResendOrder,
        ResendWaiter,
        WaitOutcome, //
    }, //
};

use crate::kernel_ext::set_once::SetOnce;

/// The order of one message id, in a cache line of its own: neighbours are used by different CPUs.
#[repr(align(64))]
struct PaddedOrder(ResendOrder);

/// The outcome of [`ResendOrders::enter_or_wait`].
pub(super) enum Entry<R> {
    /// No other request of this id is being executed: execute this one.
    Entered(R),
    /// The request waits for the one before it.
    Waits,
    /// This request must not be executed, for the reason given. It may be an older one that
    /// waited.
    Rejected(R, &'static str),
}

/// The order of all message ids of a session.
#[pin_data]
pub(super) struct ResendOrders<R> {
    /// By message id; set when the set-up of the first path begins.
    orders: SetOnce<KVVec<PaddedOrder>>,
    /// By message id.
    #[pin]
    waiting: SpinLockIrq<KVVec<ResendWaiter<R>>>,
    /// Held while requests that waited are handed to the service.
    #[pin]
    serving: Mutex<()>,
}

impl<R> ResendOrders<R> {
    /// Creates one without message ids.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            orders: SetOnce::new(),
            waiting <- new_spinlock_irq!(KVVec::new(), "rtrs_resend_waiting"),
            serving <- new_mutex!((), "rtrs_resend_serving"),
        })
    }

    /// Creates the message ids, unless another path has done so.
    pub(super) fn prepare(&self, depth: QueueDepth) -> Result {
        if self.orders.as_ref().is_some() {
            return Ok(());
        }
        let count = depth.get().into();
        let mut orders = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut waiters = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            orders.push(PaddedOrder(ResendOrder::new()), GFP_KERNEL)?;
            waiters.push(ResendWaiter::new(), GFP_KERNEL)?;
        }
        let mut waiting = self.waiting.lock();
        // Another path may have been faster.
        if self.orders.populate(orders) {
            *waiting = waiters;
        }
        Ok(())
    }

    fn order(&self, id: BufId) -> Option<&ResendOrder> {
        self.orders
            .as_ref()?
            .get(id.index())
            .map(|padded| &padded.0)
    }

    /// Lets a request of message id `id` enter, if no other request of that id is being executed.
    /// Returns whether it may be executed; if not, [`Self::enter_or_wait`] must follow.
    #[inline]
    pub(super) fn enter(&self, id: BufId) -> bool {
        self.order(id).is_some_and(ResendOrder::enter)
    }

    /// Lets `request` of message id `id` enter, or wait if another request of that id is being
    /// executed. It must not wait if `is_late` returns true.
    #[cold]
    pub(super) fn enter_or_wait(
        &self,
        id: BufId,
        request: R,
        is_late: impl FnOnce() -> bool,
    ) -> Entry<R> {
        let Some(order) = self.order(id) else {
            return Entry::Rejected(request, "out of range");
        };
        if is_late() {
            // It must not replace a request that can still get a response.
            return Entry::Rejected(request, "arrived while the path closes");
        }
        let mut waiting = self.waiting.lock();
        let Some(waiter) = waiting.get_mut(id.index()) else {
            drop(waiting);
            return Entry::Rejected(request, "out of range");
        };
        let outcome = order.wait(waiter, request);
        drop(waiting);
        match outcome {
            WaitOutcome::Entered(request) => Entry::Entered(request),
            WaitOutcome::Waits => Entry::Waits,
            WaitOutcome::Replaced(old) => Entry::Rejected(old, "sent again over another path"),
        }
    }

    /// Records that the request of message id `id` was executed. Any context. Returns whether
    /// another one waits; then the caller schedules [`ResendOrders::serve`].
    #[must_use]
    pub(super) fn leave(&self, id: BufId) -> bool {
        self.order(id).is_some_and(ResendOrder::leave)
    }

    /// Calls `dispatch` with each request that waited and is next. Process context.
    pub(super) fn serve(&self, dispatch: impl Fn(R)) {
        let _serving = self.serving.lock();
        let orders = self.orders.as_ref().into_iter().flatten();
        for (index, PaddedOrder(order)) in orders.enumerate() {
            if !order.is_ready() {
                continue;
            }
            let mut waiting = self.waiting.lock();
            let next = waiting.get_mut(index).and_then(|waiter| order.take(waiter));
            drop(waiting);
            if let Some(request) = next {
                dispatch(request);
            }
        }
    }

    /// Removes and drops the waiting requests of a path, for which `matches` returns true.
    ///
    /// Called by the teardown of the path after its last completion, so none begins to wait
    /// afterwards. The caller holds a reference to the path, so that of a request is not the last
    /// one.
    pub(super) fn withdraw(&self, matches: impl Fn(&R) -> bool) {
        let orders = self.orders.as_ref().into_iter().flatten();
        for (index, PaddedOrder(order)) in orders.enumerate() {
            let mut waiting = self.waiting.lock();
            let withdrawn = waiting
                .get_mut(index)
                .and_then(|waiter| order.withdraw(waiter, &matches));
            drop(waiting);
            drop(withdrawn);
        }
    }

    /// Waits until a running [`ResendOrders::serve`] has returned from the service.
    pub(super) fn wait_for_serve(&self) {
        drop(self.serving.lock());
    }
}
