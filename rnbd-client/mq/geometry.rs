// SPDX-License-Identifier: GPL-2.0-only

//! The geometry of a disk, which old tools ask for.
//!
//! C header: [`include/uapi/linux/hdreg.h`](srctree/include/uapi/linux/hdreg.h)

use kernel::prelude::*;

/// Heads of every disk, and sectors of every track, as in the C driver.
const HEADS: u8 = 4;
const SECTORS: u8 = 16;

/// `struct hd_geometry` of C, of which the bindings have only the name.
#[repr(C)]
pub(super) struct HdGeometry {
    heads: u8,
    sectors: u8,
    cylinders: u16,
    /// First sector of a partition, which the block layer sets.
    start: c_ulong,
}

impl HdGeometry {
    /// Sets the geometry of a disk of `sectors` (of 512 bytes).
    pub(super) fn set(&mut self, sectors: u64) {
        self.heads = HEADS;
        self.sectors = SECTORS;
        // CAST: Large disks have any number of cylinders here, as in the C driver.
        self.cylinders = (sectors / (u64::from(HEADS) * u64::from(SECTORS))) as u16;
    }
}
