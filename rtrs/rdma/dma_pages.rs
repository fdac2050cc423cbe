// SPDX-License-Identifier: GPL-2.0-only

//! Pages that are mapped for DMA.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::kernel_ext::pages::Pages;

use super::{
    dma::DmaDir,
    pd::Pd,
    sg::{
        MappedSg,
        SgTable, //
    },
    sge::Sge, //
};

/// A block of pages mapped for a device.
///
/// # Invariants
///
/// `map` has one segment, at `addr`, of all `pages`.
pub(crate) struct DmaPages {
    // Dropped before the memory that it names: unmapping may still copy to that.
    map: MappedSg,
    addr: u64,
    pages: Pages,
}

impl DmaPages {
    /// Maps all of `pages`.
    pub(crate) fn new(pd: &Arc<Pd>, pages: Pages, dir: DmaDir) -> Result<Self> {
        let mut table = SgTable::new(pd, 1)?;
        // SAFETY: The new object keeps `pages`, and drops the mapping before.
        let map = unsafe {
            table.set_pages(&pages)?;
            MappedSg::new(table, 1, dir).map_err(|(_, e)| e)?
        };
        let addr = map.single().ok_or(EIO)?;
        // INVARIANT: As `single` says.
        Ok(Self { map, addr, pages })
    }

    /// Returns the address of `len` bytes from `off`, if they are in the block.
    #[inline]
    fn range(&self, off: usize, len: usize) -> Option<u64> {
        let fits = off.checked_add(len)? <= self.pages.len();
        fits.then(|| self.addr.wrapping_add(off as u64))
    }

    /// Returns the memory.
    #[inline]
    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Returns the mapping, for a memory region.
    pub(crate) fn mapped(&self) -> &MappedSg {
        &self.map
    }

    /// Passes `len` bytes from `off` to the device after the CPU wrote them
    /// (`ib_dma_sync_single_for_device`).
    #[inline]
    pub(crate) fn sync_for_device(&self, off: usize, len: usize) {
        if let Some(addr) = self.range(off, len) {
            // SAFETY: In the only segment, by the type invariant.
            unsafe { self.map.sync_for_device(addr, len) };
        }
    }

    /// Passes `len` bytes from `off` to the CPU after the device wrote them
    /// (`ib_dma_sync_single_for_cpu`).
    #[inline]
    pub(crate) fn sync_for_cpu(&self, off: usize, len: usize) {
        if let Some(addr) = self.range(off, len) {
            // SAFETY: In the only segment, by the type invariant.
            unsafe { self.map.sync_for_cpu(addr, len) };
        }
    }

    /// Names `len` bytes (1 or more) from `off` in a work request.
    #[inline]
    pub(crate) fn sge(&self, off: usize, len: usize) -> Result<Sge<'_>> {
        let addr = self.range(off, len).ok_or(EINVAL)?;
        // SAFETY: In the only segment, by the type invariant.
        unsafe { self.map.sge(addr, len) }
    }
}
