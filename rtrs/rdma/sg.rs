// SPDX-License-Identifier: GPL-2.0-only

//! Scatter/gather tables and their mappings.
//!
//! A table is allocated once and converted between [`SgTable`] (can be filled) and
//! [`MappedSg`] (mapped for the device) without allocations.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    kernel_ext::pages::Pages, //
};

use super::{
    dma::DmaDir,
    pd::Pd,
    sge::Sge, //
};

/// The most segments of one I/O.
pub(crate) const MAX_SEGMENTS: usize = 128;

/// A table of segments that is not mapped.
pub struct SgTable(
    // In a box, as a table moves whenever it is mapped or unmapped.
    KBox<Table>,
);

struct Table {
    list: KVec<bindings::scatterlist>,
    pd: Arc<Pd>,
}

// SAFETY: Plain memory; the code that fills it ensures that the pages are valid.
unsafe impl Send for SgTable {}
// SAFETY: Shared access only reads it.
unsafe impl Sync for SgTable {}

impl SgTable {
    /// Allocates a table of `capacity` segments (1..=[`MAX_SEGMENTS`]).
    pub fn new(pd: &Arc<Pd>, capacity: usize) -> Result<Self> {
        if capacity == 0 || capacity > MAX_SEGMENTS {
            return Err(EINVAL);
        }
        let mut list = KVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            list.push(bindings::scatterlist::default(), GFP_KERNEL)?;
        }
        // SAFETY: `list` holds `capacity` entries, at most `MAX_SEGMENTS`.
        unsafe { bindings::sg_init_table(list.as_mut_ptr(), capacity as u32) };
        let pd = pd.clone();
        Ok(Self(KBox::new(Table { list, pd }, GFP_KERNEL)?))
    }

    /// Returns the number of segments that fit.
    pub fn capacity(&self) -> usize {
        self.0.list.len()
    }

    /// Returns the first entry, for C functions that fill tables. They must not access entries
    /// beyond [`SgTable::capacity`].
    pub fn as_mut_ptr(&mut self) -> *mut bindings::scatterlist {
        self.0.list.as_mut_ptr()
    }

    /// Makes the block `pages` the only segment.
    ///
    /// # Safety
    ///
    /// `pages` must stay valid as long as the table names it.
    pub(super) unsafe fn set_pages(&mut self, pages: &Pages) -> Result {
        let len = u32::try_from(pages.len())?;
        let page = pages.page_at(0)?.as_ptr();
        let sg = self.0.list.first_mut().ok_or(EINVAL)?;
        // SAFETY: `sg` was initialised by `sg_init_table`; the page is valid.
        unsafe {
            bindings::sg_set_page(sg, page, len, 0);
            bindings::sg_mark_end(sg);
        }
        Ok(())
    }

    /// Makes the `len` bytes of linear kernel memory at `ptr` the only segment.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `len` bytes in kmalloc memory for as long as the
    /// table names it.
    pub unsafe fn set_linear(&mut self, ptr: *mut u8, len: u32) {
        if let Some(sg) = self.0.list.first_mut() {
            // SAFETY: `sg` is initialised and the memory valid, as the caller
            // promises.
            unsafe { bindings::sg_init_one(sg, ptr.cast(), len) };
        }
    }

    /// Maps `len` bytes that begin at `offset` in a page, all of them to the
    /// [sink](Pd::sink), for a device that writes data to be discarded. Returns the table with the
    /// error on failure.
    pub fn map_sink(
        mut self,
        offset: usize,
        len: usize,
    ) -> core::result::Result<MappedSg, (Self, Error)> {
        match self.fill_sink(offset, len) {
            // SAFETY: Filled just now, with a page that lives as long as the PD, which the table
            // keeps.
            Ok(entries) => unsafe { MappedSg::new(self, entries, DmaDir::FromDevice) },
            Err(e) => Err((self, e)),
        }
    }

    fn fill_sink(&mut self, offset: usize, len: usize) -> Result<usize> {
        let pd = self.0.pd.clone();
        let (page, size) = (pd.sink().page_at(0)?.as_ptr(), pd.sink().len());
        // CAST: At most `MAX_SEGMENTS`.
        let capacity = self.0.list.len() as u32;
        // SAFETY: `list` has so many entries. This clears the marks of the last use.
        unsafe { bindings::sg_init_table(self.0.list.as_mut_ptr(), capacity) };
        let (mut offset, mut left, mut entries) = (offset % size, len, 0);
        for sg in &mut self.0.list {
            if left == 0 {
                break;
            }
            let part = left.min(size - offset);
            // SAFETY: `sg` is initialised, and the page valid.
            unsafe {
                bindings::sg_set_page(sg, page, u32::try_from(part)?, u32::try_from(offset)?)
            };
            (offset, left, entries) = (0, left - part, entries + 1);
        }
        match (left, entries) {
            (0, 1..) => Ok(entries),
            _ => Err(EMSGSIZE),
        }
    }
}

/// A table that is mapped for the device.
///
/// # Invariants
///
/// The first `entries` entries of `table` are mapped in direction `dir`, as
/// `mapped` segments.
pub struct MappedSg {
    table: SgTable,
    entries: u32,
    mapped: u32,
    dir: DmaDir,
}

impl MappedSg {
    /// Maps the first `entries` segments of `table` (`ib_dma_map_sg`); returns the table with
    /// the error on failure.
    ///
    /// # Safety
    ///
    /// The segments were filled, and the memory that they name must stay valid until the
    /// table is unmapped.
    pub(super) unsafe fn new(
        mut table: SgTable,
        entries: usize,
        dir: DmaDir,
    ) -> core::result::Result<Self, (SgTable, Error)> {
        let count = match u32::try_from(entries) {
            Ok(count) if count > 0 && entries <= table.capacity() => count,
            _ => return Err((table, EINVAL)),
        };
        // SAFETY: The entries are initialised and name memory that is valid
        // while the table is mapped, as the caller promises.
        let mapped = unsafe {
            bindings::ib_dma_map_sg(
                table.0.pd.device(),
                table.0.list.as_mut_ptr(),
                count as i32,
                dir.raw(),
            )
        };
        match u32::try_from(mapped) {
            // INVARIANT: Mapped above.
            Ok(mapped) if mapped > 0 => Ok(Self {
                table,
                entries: count,
                mapped,
                dir,
            }),
            _ => Err((table, ENOMEM)),
        }
    }

    /// Unmaps the table and returns it for further use (`ib_dma_unmap_sg`).
    pub fn unmap(self) -> SgTable {
        let mut this = core::mem::ManuallyDrop::new(self);
        this.unmap_raw();
        // SAFETY: `this` is never dropped, so the table is moved out once.
        unsafe { core::ptr::read(&this.table) }
    }

    fn unmap_raw(&mut self) {
        // SAFETY: By the type invariant mapped with these very values.
        unsafe {
            bindings::ib_dma_unmap_sg(
                self.table.0.pd.device(),
                self.table.0.list.as_mut_ptr(),
                self.entries as i32,
                self.dir.raw(),
            )
        };
    }

    /// Returns the number of segments that the device sees.
    pub fn segments(&self) -> usize {
        self.mapped as usize
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::scatterlist {
        self.table.0.list.as_ptr().cast_mut()
    }

    /// Returns addresses and lengths of all segments.
    fn pieces(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.table.0.list.iter().take(self.segments()).map(|sg| {
            let sg = core::ptr::from_ref(sg).cast_mut();
            // SAFETY: A mapped entry; both functions only read it.
            unsafe { (bindings::sg_dma_address(sg), bindings::sg_dma_len(sg)) }
        })
    }

    /// Names all segments in a work request.
    pub(super) fn sges(&self) -> impl Iterator<Item = Sge<'_>> {
        let lkey = self.table.0.pd.lkey();
        // No mapped segment is empty.
        self.pieces()
            .map(move |(addr, len)| Sge::of_segment(addr, len, lkey))
    }

    /// Returns the address of the only segment. `None` if there are more.
    pub(super) fn single(&self) -> Option<u64> {
        let (addr, _) = self.pieces().next()?;
        (self.mapped == 1).then_some(addr)
    }

    /// Names `len` bytes (1 or more) at `addr`.
    ///
    /// # Safety
    ///
    /// They must be in a mapped segment.
    #[inline]
    pub(super) unsafe fn sge(&self, addr: u64, len: usize) -> Result<Sge<'_>> {
        Sge::new(addr, len, self.table.0.pd.lkey())
    }

    /// Passes `len` bytes at `addr` to the device.
    ///
    /// # Safety
    ///
    /// They must be in a mapped segment.
    #[inline]
    pub(super) unsafe fn sync_for_device(&self, addr: u64, len: usize) {
        let (dev, dir) = (self.table.0.pd.device(), self.dir.raw());
        // SAFETY: As the caller promises.
        unsafe { bindings::ib_dma_sync_single_for_device(dev, addr, len, dir) };
    }

    /// Passes `len` bytes at `addr` to the CPU.
    ///
    /// # Safety
    ///
    /// They must be in a mapped segment.
    #[inline]
    pub(super) unsafe fn sync_for_cpu(&self, addr: u64, len: usize) {
        let (dev, dir) = (self.table.0.pd.device(), self.dir.raw());
        // SAFETY: As the caller promises.
        unsafe { bindings::ib_dma_sync_single_for_cpu(dev, addr, len, dir) };
    }
}

impl Drop for MappedSg {
    fn drop(&mut self) {
        self.unmap_raw();
    }
}
