// SPDX-License-Identifier: GPL-2.0-only

//! Requests as transfers of the transport.

use super::Request;
use core::ptr::NonNull;
use kernel::prelude::*;
use rtrs::rdma::io::Io;
use rtrs::rdma::sg::SgTable;

// SAFETY: The pages of a request belong to it until it is completed, which
// nothing but `done` (or dropping it) does. A `Request` is but the pointer.
unsafe impl Io for Request {
    fn into_raw(self) -> NonNull<c_void> {
        Request::into_raw(self)
    }

    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // SAFETY: As the caller promises.
        unsafe { Request::from_raw(ptr) }
    }

    fn fill(&self, table: &mut SgTable) -> Result<usize> {
        let capacity = table.capacity();
        // SAFETY: A table has `capacity` initialised entries.
        unsafe { self.map(table.as_mut_ptr(), capacity) }
    }

    fn done(self, result: Result) {
        Request::done(self, result)
    }
}
