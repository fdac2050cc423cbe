// SPDX-License-Identifier: GPL-2.0-only

//! Eager requests that arrived before the server noticed that the last response of their message id
//! was sent.

use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::SpinLockIrq, //
};

use rnbd_proto::limits::{
    BufId,
    QueueDepth, //
};

/// The requests, of type `R`, by message id. There are few at a time, if any.
#[pin_data]
pub(super) struct EarlyRequests<R> {
    #[pin]
    list: SpinLockIrq<KVec<(BufId, R)>>,
}

impl<R> EarlyRequests<R> {
    /// Creates an empty list, without space.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_spinlock_irq!(KVec::new(), "rtrs_early_requests"),
        })
    }

    /// Allocates space for one request of each id.
    pub(super) fn reserve(&self, depth: QueueDepth) -> Result {
        let list = KVec::with_capacity(depth.get().into(), GFP_KERNEL)?;
        *self.list.lock() = list;
        Ok(())
    }

    /// Adds a request. Returns it if there is one of the same id.
    pub(super) fn insert(&self, id: BufId, request: R) -> core::result::Result<(), R> {
        let mut list = self.list.lock();
        if list.iter().any(|(other, _)| *other == id) {
            return Err(request);
        }
        list.push_within_capacity((id, request))
            .map_err(|full| full.0 .1)
    }

    /// Takes the request of `id` out.
    pub(super) fn take(&self, id: BufId) -> Option<R> {
        let mut list = self.list.lock();
        let index = list.iter().position(|(other, _)| *other == id)?;
        list.remove(index).ok().map(|(_, request)| request)
    }
}
