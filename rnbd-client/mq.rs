// SPDX-License-Identifier: GPL-2.0-only

//! Multi-queue block devices: a safe wrapper of blk-mq and `struct gendisk`.
//!
//! | C | here | owner |
//! |---|---|---|
//! | `struct blk_mq_tag_set` | [`TagSet`] | `Arc`, held by every disk that uses it |
//! | `struct gendisk`, `struct request_queue` | [`Disk`] | the caller that added it; drop removes it |
//! | `struct request`, started | [`RequestPayload`] | the driver, until `complete` |
//!
//! A request changes hands by move: [`Operations::queue_rq`] receives a [`RequestPayload`],
//! and `complete` consumes it. Dropping it fails the request, so none is lost.
//!
//! The modules from the bottom up: `op`, `queue`, `limits`, `capacity`, `disk_handle`,
//! `geometry`, `added_disks`;
//! `request`, `timeout`; `payload` and `operations`, which name each other; `placeholder`;
//! `tag_set`; `vtable`; `unadded_disk`; `disk`; and `stand_in`.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

mod added_disks;
mod capacity;
mod disk;
mod disk_handle;
mod geometry;
mod limits;
mod op;
mod operations;
mod payload;
mod placeholder;
mod queue;
mod request;
pub(crate) mod stand_in;
mod tag_set;
mod timeout;
mod unadded_disk;
mod vtable;

pub(crate) use added_disks::AddedDisks;
pub(crate) use capacity::DiskCapacity;
pub(crate) use disk::{
    Disk,
    DiskConfig, //
};
pub(crate) use disk_handle::DiskHandle;
pub(crate) use limits::{
    Limits,
    LiveLimits,
    SECTOR_SIZE, //
};
pub(crate) use op::Flags;
pub(crate) use operations::Operations;
pub(crate) use payload::RequestPayload;
pub(crate) use request::Request;
pub(crate) use tag_set::TagSet;
pub(crate) use timeout::TimedOutRequest;
