// SPDX-License-Identifier: GPL-2.0-only

//! Requests that take longer than the timeout of their queue.

use super::request::Op;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::fmt;
use kernel::prelude::*;
use kernel::time::msecs_to_jiffies;

/// What a request was that was not done in time, for who is told of it.
///
/// Everybody else may have gone on with the request by then: these are copies.
pub(crate) struct TimedOutRequest {
    /// What it asked for.
    pub(crate) op: Result<Op>,
    /// Its tag. Nobody else has it while this is reported.
    pub(crate) tag: u32,
    /// First sector, in units of 512 bytes.
    pub(crate) sector: u64,
    /// Bytes that it covers.
    pub(crate) bytes: u32,
    /// The timeout, in milliseconds. Once it has passed it begins again.
    pub(crate) period_ms: u64,
}

impl TimedOutRequest {
    /// # Safety
    ///
    /// `rq` must be a request that was started, and blk-mq must keep it from being used
    /// again for the duration of this call.
    pub(super) unsafe fn of(rq: NonNull<bindings::request>) -> Self {
        let rq = rq.as_ptr();
        // SAFETY: The request is allocated. It may be completed at this moment, which
        // changes its range; so each field is read once, and is but reported.
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
            op: Op::of(flags),
            // A started request has a driver tag, which is not negative.
            tag: tag.unsigned_abs(),
            sector,
            bytes,
            // As many jiffies as a second has.
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
            Ok(Op::Flush) => f.write_str("flush"),
            Ok(op) => f.write_fmt(fmt!("{op:?} of {bytes} bytes at sector {sector}")),
            Err(_) => f.write_str("request"),
        }
    }
}
