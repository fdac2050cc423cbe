// SPDX-License-Identifier: GPL-2.0-only

//! Multi-queue block devices: a safe wrapper of blk-mq and `struct gendisk`.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `register_blkdev` | [`Major`] | the module |
//! | `struct blk_mq_tag_set` | [`TagSet`] | `Arc`, held by every disk that uses it |
//! | `struct gendisk`, `struct request_queue` | [`Disk`] | whoever added it; drop removes it |
//! | `struct request` being executed | [`Transfer`] | the driver, until `done` |
//!
//! A request changes hands by move: [`Operations::queue_rq`] gets a [`Transfer`],
//! and `done` consumes it. Dropped it fails the request, so none is lost.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

mod disk;
mod io;
mod late;
mod limits;
mod major;
mod operations;
mod request;
mod size;
mod tag_set;
mod unadded;

pub(crate) use disk::Disk;
pub(crate) use disk::DiskConfig;
pub(crate) use io::Transfer;
pub(crate) use late::Late;
pub(crate) use limits::Limits;
pub(crate) use major::Major;
pub(crate) use operations::Operations;
pub(crate) use request::Flags;
pub(crate) use request::Op;
pub(crate) use request::Queue;
pub(crate) use request::Request;
pub(crate) use size::Size;
pub(crate) use tag_set::TagSet;

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = kernel::bindings::SECTOR_SIZE;
