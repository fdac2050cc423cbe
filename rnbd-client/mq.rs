// SPDX-License-Identifier: GPL-2.0-only

//! Multi-queue block devices: a safe wrapper of blk-mq and `struct gendisk`.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `register_blkdev` | [`Major`] | the module |
//! | `struct blk_mq_tag_set` | [`TagSet`] | `Arc`, held by every disk that uses it |
//! | `struct gendisk`, `struct request_queue` | [`Disk`] | whoever added it; drop removes it |
//! | `struct request` being executed | [`RequestPayload`] | the driver, until `done` |
//!
//! A request changes hands by move: [`Operations::queue_rq`] gets a [`RequestPayload`],
//! and `done` consumes it. Dropped it fails the request, so none is lost.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

mod capacity;
mod disk;
mod limits;
mod major;
mod operations;
mod payload;
mod request;
mod tag_set;
mod timeout;
mod unadded_disk;

pub(crate) use capacity::DiskCapacity;
pub(crate) use disk::Disk;
pub(crate) use disk::DiskConfig;
pub(crate) use limits::Limits;
pub(crate) use major::Major;
pub(crate) use operations::Operations;
pub(crate) use payload::RequestPayload;
pub(crate) use request::Flags;
pub(crate) use request::Op;
pub(crate) use request::Queue;
pub(crate) use request::Request;
pub(crate) use tag_set::TagSet;
pub(crate) use timeout::TimedOutRequest;

/// Bytes of a sector, the unit of addresses and sizes in the block layer.
pub(crate) const SECTOR_SIZE: u32 = kernel::bindings::SECTOR_SIZE;
