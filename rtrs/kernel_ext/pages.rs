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

/// Returns the bytes of RAM that the kernel manages
/// ([`totalram_pages`](srctree/include/linux/mm.h)).
pub(crate) fn ram() -> u64 {
    // SAFETY: Reads a counter.
    let pages = unsafe { bindings::totalram_pages() };

    (pages as u64).saturating_mul(PAGE_SIZE as u64)
}

/// A block of physically contiguous pages, zeroed when made.
///
/// A device, and so a peer, may change the bytes at any time. So there are no references to
/// them, only copies in and out; a copy made while a device writes is a mixture of old and
/// new bytes.
///
/// # Invariants
///
/// `data` is the address, in the kernel's linear mapping, of what `alloc_pages_exact` has returned
/// for `len` bytes, which are not zero, and `page` the first of its pages. This object owns it.
pub struct Pages {
    page: NonNull<bindings::page>,
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: The block is owned; it may be freed by any task.
unsafe impl Send for Pages {}
// SAFETY: Bytes are only copied, which tolerates concurrent changes.
unsafe impl Sync for Pages {}

impl Pages {
    /// Allocates `len` bytes (1 or more), in whole pages
    /// ([`alloc_pages_exact`](srctree/include/linux/gfp.h)). Sleeps; a failure is not logged.
    ///
    /// They begin at a multiple of the next power of two.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `len` is 0 or more than the kernel ever allocates at once, `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        if len == 0 || len > PAGE_SIZE << bindings::MAX_PAGE_ORDER {
            return Err(EINVAL);
        }
        let flags = bindings::GFP_KERNEL | bindings::__GFP_ZERO | bindings::__GFP_NOWARN;

        // SAFETY: The length is within bounds.
        let data = unsafe { bindings::alloc_pages_exact(len, flags) };
        let data = NonNull::new(data).ok_or(ENOMEM)?;

        // SAFETY: Without `__GFP_HIGHMEM` the memory is in the linear mapping.
        let page = unsafe { bindings::virt_to_page(data.as_ptr()) };

        // INVARIANT: Just allocated. Memory in the linear mapping has pages.
        Ok(Self {
            page: NonNull::new(page).ok_or(ENOMEM)?,
            data: data.cast(),
            len,
        })
    }

    /// Returns the bytes of memory that a block of `len` bytes takes, in whole pages.
    pub(crate) fn memory(len: usize) -> usize {
        len.checked_next_multiple_of(PAGE_SIZE).unwrap_or(len)
    }

    /// Returns the number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns false: a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address, valid for [`len`](Self::len) bytes.
    #[inline]
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
        unsafe { bindings::free_pages_exact(self.as_ptr().cast(), self.len) };
    }
}
