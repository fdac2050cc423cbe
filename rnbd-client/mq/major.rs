// SPDX-License-Identifier: GPL-2.0-only

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Release;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::time::delay::fsleep;
use kernel::time::Delta;

/// Disks whose memory the block layer has not freed yet.
///
/// It may do so after the driver let go, as long as somebody holds a reference,
/// and it calls into the module then: the module must wait for that.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// A disk comes to life.
pub(super) fn disk_born() {
    LIVE.fetch_add(1, Release);
}

/// The block layer is about to free a disk.
pub(super) fn disk_gone() {
    LIVE.fetch_sub(1, Release);
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
    /// Asks for a free major number.
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

    /// The number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Major {
    fn drop(&mut self) {
        // In general there are none: a reference that is held for long, such
        // as by an open file, keeps the module loaded.
        while LIVE.load(Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
        // SAFETY: Registered with these values, by the type invariant.
        unsafe { bindings::unregister_blkdev(self.number, self.name.as_char_ptr()) };
    }
}
