// SPDX-License-Identifier: GPL-2.0-only

//! Reading the partition table of a new disk.
//!
//! The kernel reads it while a disk is added, uninterruptibly and for as long as that takes: for
//! ever if the server does not respond, or the session has no path and `fast_io_fail_tmo` is
//! `off`. So a disk is added without that, and a worker reads the table.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    time::Delta, //
};

use rtrs::kernel_ext::workqueue::WorkqueueHandle;

use crate::{
    background::run_within,
    mq::DiskHandle, //
};

/// How long `map_device` waits for the partitions.
const PATIENCE: Delta = Delta::from_secs(10);

/// Has a worker of `queue` read the partition table of `disk`, which is rnbd`number`, and waits
/// until it has, for at most [`PATIENCE`] or until the task is killed. Partitions that are found
/// later are added then.
///
/// The worker ends when the I/O of the disk does, before the disk is removed: both need the lock
/// for opening the disk.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn scan_partitions(queue: &WorkqueueHandle, disk: DiskHandle, number: u32) -> Result {
    if !run_within(queue, PATIENCE, move || disk.scan_partitions())? {
        pr_warn!("rnbd{number}: mapped, and its partition table is still being read\n");
    }
    Ok(())
}
