// SPDX-License-Identifier: GPL-2.0-only

//! A payload without data: a function to be called when a transfer has ended.

use core::ptr::NonNull;

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use rtrs::client::{
    Payload,
    PayloadBox,
    SgTable, //
};

/// A function that takes the result of a transfer.
struct StandIn<F>(KBox<F>);

/// Creates a payload that calls `done`, in any context.
pub(crate) fn new(flags: Flags, done: impl FnOnce(Result) + Send + 'static) -> Result<PayloadBox> {
    Ok(PayloadBox::new(StandIn(KBox::new(done, flags)?)))
}

// SAFETY: Shared references do not reach the function.
unsafe impl<F: Send> Sync for StandIn<F> {}

// SAFETY: It names no memory. The pointer is that of the box.
unsafe impl<F: FnOnce(Result) + Send + 'static> Payload for StandIn<F> {
    fn into_raw(self) -> NonNull<c_void> {
        // SAFETY: The pointer of a box is not null.
        unsafe { NonNull::new_unchecked(KBox::into_raw(self.0).cast()) }
    }

    unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // SAFETY: As the caller promises.
        Self(unsafe { KBox::from_raw(ptr.as_ptr().cast()) })
    }

    fn message(&self, _out: &mut [u8]) -> Result<usize> {
        Err(EINVAL)
    }

    fn fill(&self, _table: &mut SgTable) -> Result<usize> {
        Ok(0)
    }

    fn copy_in(&self, _data: &[u8]) -> Result {
        Err(EINVAL)
    }

    fn done(self, result: Result) {
        KBox::into_inner(self.0)(result)
    }
}
