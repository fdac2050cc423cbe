// SPDX-License-Identifier: GPL-2.0-only

//! The number of disks that the block layer may still use.
//!
//! The block layer frees a disk with the last reference to it, which may be after the driver
//! dropped its own, and calls `free_disk` of the module then. The module must wait for that.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicUsize,
    Ordering::{
        Acquire,
        Release, //
    }, //
};

use kernel::time::{
    delay::fsleep,
    Delta, //
};

/// Number of added disks whose memory the block layer has not freed yet.
static ADDED_DISKS: AtomicUsize = AtomicUsize::new(0);

/// Counts a disk that was added.
pub(super) fn disk_added() {
    ADDED_DISKS.fetch_add(1, Release);
}

/// Uncounts a disk that the block layer is about to free.
pub(super) fn disk_freed() {
    ADDED_DISKS.fetch_sub(1, Release);
}

/// Permits disks to be added. Drop waits until the block layer has freed them all.
pub(crate) struct AddedDisks(());

impl AddedDisks {
    /// Permits it. The value must outlive all disks.
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl Drop for AddedDisks {
    fn drop(&mut self) {
        // Usually there are none: a reference that is held for long, such as that of an open
        // file, keeps the module loaded.
        while ADDED_DISKS.load(Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
    }
}
