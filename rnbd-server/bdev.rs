// SPDX-License-Identifier: GPL-2.0-only

//! Block devices of this machine: opens them and submits bios.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `struct file` of a block device | [`BlockDevice`] | the opener; drop closes it |
//! | `struct bio_set` | [`BioSet`] | the opener of the device |
//! | `struct bio` | allocated by [`submit`] from a [`BioSet`] | the block layer, until it completes |
//! | front pad of the bio | a [`BioOwner`] | moved in by [`submit`], moved out on completion |
//! | completed bio that becomes a flush | in a [`PostFlush`] | the list, until its work submits it |
//!
//! A bio never outlives what it points to: it borrows the pages, the device and its bio set
//! from the [`BioOwner`] in its front pad.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h),
//! [`include/linux/bio.h`](srctree/include/linux/bio.h)

mod bio;
mod device;
mod identity;
mod limits;
mod lookup;
mod opf;
mod post_flush;

pub(crate) use bio::{
    submit,
    BioCommand,
    BioData,
    BioOwner,
    BioSet,
    MAX_ZEROES, //
};
pub(crate) use device::{
    BlockDevice,
    DevId,
    Mode, //
};
pub(crate) use limits::Limits;
pub(crate) use lookup::{
    find,
    name_of,
    Location, //
};
pub(crate) use opf::{
    OpFlag,
    Opf, //
};
pub(crate) use post_flush::PostFlush;

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = kernel::bindings::SECTOR_SIZE;
