// SPDX-License-Identifier: GPL-2.0-only

//! Major numbers of block devices.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;

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
        // SAFETY: Registered with these values, by the type invariant.
        unsafe { bindings::unregister_blkdev(self.number, self.name.as_char_ptr()) };
    }
}
