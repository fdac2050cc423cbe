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
pub(crate) struct DmaPages {
    // Dropped before the memory that it names: unmapping may still copy to that.
    map: MappedSg,
    pages: Arc<Pages>,
}

impl DmaPages {
    /// Maps all of `pages`.
    pub(crate) fn new(pd: &Arc<Pd>, pages: Arc<Pages>, dir: DmaDir) -> Result<Self> {
        let mut table = SgTable::new(pd, 1)?;
        // SAFETY: The new object keeps `pages`, and drops the mapping before.
        let map = unsafe {
            table.set_pages(&pages)?;
            MappedSg::new(table, 1, dir).map_err(|(_, e)| e)?
        };
        Ok(Self { map, pages })
    }

    /// Returns the memory.
    pub(crate) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// Returns the mapping, for a memory region.
    pub(crate) fn mapped(&self) -> &MappedSg {
        &self.map
    }

    /// Passes `len` bytes from `off` to the device after the CPU wrote them
    /// (`ib_dma_sync_single_for_device`).
    pub(crate) fn sync_for_device(&self, off: usize, len: usize) {
        self.map.sync_for_device(off, len);
    }

    /// Passes `len` bytes from `off` to the CPU after the device wrote them
    /// (`ib_dma_sync_single_for_cpu`).
    pub(crate) fn sync_for_cpu(&self, off: usize, len: usize) {
        self.map.sync_for_cpu(off, len);
    }

    /// Names `len` bytes (1 or more) from `off` in a work request.
    pub(crate) fn sge(&self, off: usize, len: usize) -> Result<Sge<'_>> {
        self.map.sge_in_first(off, len)
    }
}
