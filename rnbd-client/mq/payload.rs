// SPDX-License-Identifier: GPL-2.0-only

//! Requests as transfers of the transport.

use super::operations::Operations;
use super::Request;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::prelude::*;
use rtrs::rdma::payload::Payload;
use rtrs::rdma::sg::SgTable;

/// A request on its way, of a disk whose driver is a `T`.
///
/// # Invariants
///
/// The request came by [`Operations::queue_rq`] of a `T`.
pub(crate) struct RequestPayload<T: Operations> {
    request: Request,
    _driver: PhantomData<fn(T)>,
}

impl<T: Operations> RequestPayload<T> {
    /// # Safety
    ///
    /// The request was passed to [`Operations::queue_rq`] of a `T`.
    pub(super) unsafe fn new(request: Request) -> Self {
        // INVARIANT: As promised.
        Self {
            request,
            _driver: PhantomData,
        }
    }

    /// What the block layer asks for.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Completes the request. Any context.
    pub(crate) fn done(self, result: Result) {
        // SAFETY: By the type invariant.
        unsafe { self.request.driver::<T>() }.ending(&self.request);
        self.request.done(result)
    }
}

// SAFETY: The pages of a request belong to it until it is completed, which
// nothing but `done` (or dropping it) does. A `RequestPayload` is but the pointer.
unsafe impl<T: Operations> Payload for RequestPayload<T> {
    fn into_raw(self) -> NonNull<c_void> {
        self.request.into_raw()
    }

    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // INVARIANT: As for the one that was given up.
        Self {
            // SAFETY: As the caller promises.
            request: unsafe { Request::from_raw(ptr) },
            _driver: PhantomData,
        }
    }

    fn message(&self, out: &mut [u8]) -> Result<usize> {
        // SAFETY: By the type invariant.
        unsafe { self.request.driver::<T>() }.message(&self.request, out)
    }

    fn fill(&self, table: &mut SgTable) -> Result<usize> {
        let capacity = table.capacity();
        // SAFETY: A table has `capacity` initialised entries.
        unsafe { self.request.map(table.as_mut_ptr(), capacity) }
    }

    fn done(self, result: Result) {
        RequestPayload::done(self, result)
    }

    fn later(self) {
        self.request.later()
    }
}
