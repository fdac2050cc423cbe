// SPDX-License-Identifier: GPL-2.0-only

//! Requests that take longer than the timeout of their queue.

use core::ptr::NonNull;

use kernel::{
    bindings,
    fmt,
    prelude::*,
    time::msecs_to_jiffies, //
};

use rnbd_proto::wire::rnbd::BlockOp;

use super::op;

/// Description of a request that timed out.
///
/// The request may be completed while this is used, so its fields are copied.
pub(crate) struct TimedOutRequest {
    /// The operation.
    pub(crate) op: Result<BlockOp>,
    /// Its tag, which no other request gets while the timeout is handled.
    pub(crate) tag: u32,
    /// First sector, in units of 512 bytes.
    pub(crate) sector: u64,
    /// Length in bytes.
    pub(crate) bytes: u32,
    /// The number of disks that share the tags.
    pub(crate) disks: u32,
    /// The timeout in milliseconds, after which the timer starts again.
    pub(crate) period_ms: u64,
}

impl TimedOutRequest {
    /// # Safety
    ///
    /// `rq` must be a request that was started, and blk-mq must keep it from being used
    /// again for the duration of this call.
    pub(super) unsafe fn new(rq: NonNull<bindings::request>, disks: u32) -> Self {
        let rq = rq.as_ptr();
        // SAFETY: The request is allocated. Completing it, at the same time, changes its
        // range; so each field is read once, and used for a log line only.
        let (flags, sector, bytes) = unsafe {
            (
                (&raw const (*rq).cmd_flags).read_volatile(),
                (&raw const (*rq).__sector).read_volatile(),
                (&raw const (*rq).__data_len).read_volatile(),
            )
        };
        // SAFETY: Neither changes before the request is freed.
        let (tag, timeout) = unsafe { ((*rq).tag, (*rq).timeout) };
        Self {
            op: op::block_op(flags),
            // A started request has a driver tag, which is not negative.
            tag: tag.unsigned_abs(),
            sector,
            bytes,
            disks,
            // `jiffies_to_msecs`, with the jiffies of a second for `HZ`.
            period_ms: u64::from(timeout) * 1000 / (msecs_to_jiffies(1000) as u64).max(1),
        }
    }
}

impl fmt::Display for TimedOutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            op, sector, bytes, ..
        } = self;
        match op {
            Ok(BlockOp::Flush) => f.write_str("flush"),
            Ok(op) => write!(f, "{op:?} of {bytes} bytes at sector {sector}"),
            Err(_) => f.write_str("request"),
        }
    }
}
