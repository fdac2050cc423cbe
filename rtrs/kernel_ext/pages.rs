// SPDX-License-Identifier: GPL-2.0-only

//! Blocks of pages that hardware reads and writes.
//!
//! C header: [`include/linux/gfp.h`](srctree/include/linux/gfp.h)

use core::{
    ops::Range,
    ptr::NonNull, //
};

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::bindings;

/// A block of physically contiguous pages, zeroed when made.
///
/// A device, and so a peer, may change the bytes at any time. So there are no references to
/// them, only copies in and out; a copy made while a device writes is a mixture of old and
/// new bytes.
///
/// # Invariants
///
/// `page` is the first page of a compound of order `order` in the kernel's linear
/// mapping, owned by this object, and `data` its address there.
pub struct Pages {
    page: NonNull<bindings::page>,
    data: NonNull<u8>,
    order: u32,
}

// SAFETY: The block is owned; it may be freed by any task.
unsafe impl Send for Pages {}
// SAFETY: Bytes are only copied, which tolerates concurrent changes.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates 2^`order` pages (`alloc_pages`). Sleeps; a failure is not logged.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `order` is above the largest of the kernel, `ENOMEM`.
    pub fn new(order: u32) -> Result<Self> {
        if order > bindings::MAX_PAGE_ORDER {
            return Err(EINVAL);
        }
        let flags = bindings::GFP_KERNEL
            | bindings::__GFP_ZERO
            | bindings::__GFP_NOWARN
            | (1 << bindings::___GFP_COMP_BIT);

        // SAFETY: The order is within bounds.
        let page = unsafe { bindings::alloc_pages(flags, order) };
        let page = NonNull::new(page).ok_or(ENOMEM)?;

        // SAFETY: A valid page.
        let data = unsafe { bindings::page_address(page.as_ptr()) }.cast();

        // INVARIANT: Without `__GFP_HIGHMEM` all pages are in the linear mapping.
        Ok(Self {
            page,
            data: NonNull::new(data).ok_or(ENOMEM)?,
            order,
        })
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        PAGE_SIZE << self.order
    }

    /// Returns false: a block has at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address, valid for [`len`](Self::len) bytes.
    pub fn as_ptr(&self) -> *mut u8 {
        self.data.as_ptr()
    }

    /// Returns the page that holds the byte at `offset`.
    ///
    /// # Errors
    ///
    /// `ERANGE` when `offset` is beyond the end.
    pub(crate) fn page_at(&self, offset: usize) -> Result<NonNull<bindings::page>> {
        if offset >= self.len() {
            return Err(ERANGE);
        }

        // SAFETY: Within the pages of the block, which follow each other.
        Ok(unsafe { self.page.add(offset / PAGE_SIZE) })
    }

    /// Copies bytes out.
    ///
    /// # Errors
    ///
    /// `ERANGE` when the range goes beyond the end.
    pub(crate) fn read_at(&self, offset: usize, to: &mut [u8]) -> Result {
        let range = self.check(offset, to.len())?;

        // SAFETY: In bounds; `to` cannot overlap, as no references to the block exist.
        unsafe {
            core::ptr::copy_nonoverlapping(
                self.as_ptr().add(range.start),
                to.as_mut_ptr(),
                range.len(),
            );
        }
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    ///
    /// `ERANGE` when the range goes beyond the end.
    pub(crate) fn write_at(&self, offset: usize, from: &[u8]) -> Result {
        let range = self.check(offset, from.len())?;

        // SAFETY: In bounds; `from` cannot overlap, as no references to the block exist.
        unsafe {
            core::ptr::copy_nonoverlapping(
                from.as_ptr(),
                self.as_ptr().add(range.start),
                range.len(),
            );
        }
        Ok(())
    }

    /// Sets bytes to zero.
    ///
    /// # Errors
    ///
    /// `ERANGE` when the range goes beyond the end.
    pub(crate) fn zero(&self, offset: usize, len: usize) -> Result {
        let range = self.check(offset, len)?;

        // SAFETY: In bounds.
        unsafe { self.as_ptr().add(range.start).write_bytes(0, range.len()) };
        Ok(())
    }

    /// Checks that a range is within the block.
    fn check(&self, offset: usize, len: usize) -> Result<Range<usize>> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len() => Ok(offset..end),
            _ => Err(ERANGE),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: Owned by the type invariants.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}
