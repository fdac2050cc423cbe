// SPDX-License-Identifier: GPL-2.0-only

//! A block request as the payload of an RDMA transfer.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use kernel::prelude::*;

use rtrs::client::{
    Payload,
    SgTable, //
};

use super::{
    operations::Operations,
    request::Request, //
};

/// A started request for a disk whose driver is a `T`.
///
/// # Invariants
///
/// The request was passed to [`Operations::queue_rq`] of a `T`.
pub(crate) struct RequestPayload<T: Operations> {
    request: Request,
    _driver: PhantomData<fn(T)>,
}

impl<T: Operations> RequestPayload<T> {
    /// # Safety
    ///
    /// The request is for [`Operations::queue_rq`] of a `T`.
    pub(super) unsafe fn new(request: Request) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            request,
            _driver: PhantomData,
        }
    }

    /// Returns the request.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Completes the request. Any context.
    pub(crate) fn complete(self, result: Result) {
        // SAFETY: By the type invariant.
        unsafe { self.request.device::<T>() }.completing(&self.request);
        self.request.complete(result)
    }
}

// SAFETY: The pages of a request belong to it until it is completed, which only `done` does,
// or dropping it. A `RequestPayload` is no more than the pointer.
unsafe impl<T: Operations> Payload for RequestPayload<T> {
    fn into_raw(self) -> NonNull<c_void> {
        self.request.into_raw()
    }

    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // INVARIANT: As for the one that `into_raw` consumed.
        Self {
            // SAFETY: As the caller promises.
            request: unsafe { Request::from_raw(ptr) },
            _driver: PhantomData,
        }
    }

    fn message(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant.
        unsafe { self.request.device::<T>() }.encode_message(&self.request, out)
    }

    fn check(&self) -> Result {
        // SAFETY: By the type invariant.
        unsafe { self.request.device::<T>() }.check()
    }

    fn fill(&self, table: &mut SgTable) -> Result<usize> {
        let capacity = table.capacity();
        // SAFETY: A table has `capacity` initialised entries.
        unsafe { self.request.map_sg(table.as_mut_ptr(), capacity) }
    }

    fn copy_in(&self, data: &[u8]) -> Result {
        self.request.copy_in(data)
    }

    fn done(self, result: Result) {
        self.complete(result)
    }

    fn later(self) {
        self.request.requeue()
    }
}
