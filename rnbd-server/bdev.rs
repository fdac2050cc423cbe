// SPDX-License-Identifier: GPL-2.0-only

//! Block devices of this machine: opens them and submits bios.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `struct file` of a block device | [`BlockDevice`] | the opener; drop closes it |
//! | `struct bio` with its `bio_vec` | a slot of a [`BioPool`] | the pool; lent to the block layer by [`BioPool::submit`] |
//! | `bi_private` | a [`BioOwner`] | moved into the slot, moved out on completion |
//!
//! A bio never outlives what it points to: the pages and the device are borrowed
//! from the [`BioOwner`] that sits in its slot until the block layer is done with it.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h),
//! [`include/linux/bio.h`](srctree/include/linux/bio.h)

mod bio;
mod device;
mod limits;
mod lookup;
mod opf;

pub(crate) use bio::BioCommand;
pub(crate) use bio::BioOwner;
pub(crate) use bio::BioPool;
pub(crate) use device::BlockDevice;
pub(crate) use device::DevId;
pub(crate) use device::Mode;
pub(crate) use limits::Limits;
pub(crate) use lookup::find;
pub(crate) use lookup::Location;
pub(crate) use opf::OpFlag;
pub(crate) use opf::Opf;

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = kernel::bindings::SECTOR_SIZE;
