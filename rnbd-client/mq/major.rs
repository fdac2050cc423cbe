// SPDX-License-Identifier: GPL-2.0-only

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::sync::atomic::{
    AtomicUsize,
    Ordering::{
        Acquire,
        Release, //
    }, //
};

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Number of added disks whose memory the block layer has not freed yet.
///
/// The block layer frees a disk with the last reference to it, which may be after the driver
/// dropped its own, and calls `free_disk` of the module then. The module must wait for that.
static ADDED_DISKS: AtomicUsize = AtomicUsize::new(0);

/// Counts a disk that was added.
pub(super) fn disk_added() {
    ADDED_DISKS.fetch_add(1, Release);
}

/// Uncounts a disk that the block layer is about to free.
pub(super) fn disk_freed() {
    ADDED_DISKS.fetch_sub(1, Release);
}

/// A dynamically assigned major number, listed in `/proc/devices` under `name`.
///
/// Must outlive the disks that use it.
///
/// # Invariants
///
/// `number` is registered under `name`.
pub(crate) struct Major {
    number: u32,
    name: &'static CStr,
}

impl Major {
    /// Registers a free major number, by [`__register_blkdev`](srctree/block/genhd.c).
    pub(crate) fn register(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a C string, which is copied; there is no probe
        // function.
        let number = unsafe { bindings::__register_blkdev(0, name.as_char_ptr(), None) };
        to_result(number)?;
        // INVARIANT: Registered above; not negative.
        Ok(Self {
            number: number.unsigned_abs(),
            name,
        })
    }

    /// Returns the number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Major {
    fn drop(&mut self) {
        // Usually there are none: a reference that is held for long, such as that of an open
        // file, keeps the module loaded.
        while ADDED_DISKS.load(Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
        // SAFETY: Registered with these values, by the type invariant.
        unsafe { bindings::unregister_blkdev(self.number, self.name.as_char_ptr()) };
    }
}
