// SPDX-License-Identifier: GPL-2.0-only

//! Block devices of this machine: opening them and sending them bios.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `struct file` of a block device | [`BlockDevice`] | whoever opened it; drop closes it |
//! | `struct bio` with its `bio_vec` | a slot of a [`BioPool`] | the pool; lent to the block layer by [`BioPool::submit`] |
//! | what a bio is for | an [`BioOwner`] | moved into the slot, moved out on completion |
//!
//! A bio never outlives what it points to: the pages and the device are borrowed
//! from the [`BioOwner`] that sits in its slot until the block layer is done with it.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h),
//! [`include/linux/bio.h`](srctree/include/linux/bio.h)

mod device;
mod limits;
mod lookup;
mod opf;
mod pool;

pub(crate) use device::BlockDevice;
pub(crate) use device::DevId;
pub(crate) use device::Mode;
pub(crate) use limits::Limits;
pub(crate) use lookup::find;
pub(crate) use lookup::Location;
pub(crate) use opf::OpFlag;
pub(crate) use opf::Opf;
pub(crate) use pool::BioCommand;
pub(crate) use pool::BioOwner;
pub(crate) use pool::BioPool;

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = kernel::bindings::SECTOR_SIZE;
