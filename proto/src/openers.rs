// SPDX-License-Identifier: GPL-2.0-only

//! Who may open a device how, while others have it open.
//!
//! | open as | no writer | one writer | two writers |
//! |---|---|---|---|
//! | `ro` | yes | yes | yes |
//! | `rw` | yes | no | no |
//! | `migration` | yes | yes | no |
//!
//! Writers are those who opened as `rw` or `migration`.

use crate::wire::rnbd::AccessMode;

/// Most writers of one device, reached while a virtual machine moves.
const MAX_WRITERS: u32 = 2;

/// The device has as many writers as this mode of access allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessDenied {
    /// Writers there are.
    pub writers: u32,
}

impl AccessDenied {
    /// The error number (positive) for the client.
    pub const fn errno(self) -> i32 {
        crate::error::EPERM
    }
}

/// Those who have a device open. To be kept under a lock of the device.
///
/// # Invariants
///
/// `writers` is at most 2.
#[derive(Debug, Default)]
pub struct Openers {
    readers: u32,
    writers: u32,
}

impl Openers {
    /// Nobody.
    pub const fn new() -> Self {
        Self {
            readers: 0,
            writers: 0,
        }
    }

    /// Counts one more in, if the rules allow.
    pub fn open(&mut self, mode: AccessMode) -> Result<(), AccessDenied> {
        let max = match mode {
            AccessMode::ReadOnly => {
                self.readers = self.readers.saturating_add(1);
                return Ok(());
            }
            AccessMode::ReadWrite => 1,
            AccessMode::Migration => MAX_WRITERS,
        };
        if self.writers >= max {
            return Err(AccessDenied {
                writers: self.writers,
            });
        }
        // INVARIANT: Below `max`, which is `MAX_WRITERS` or less.
        self.writers += 1;
        Ok(())
    }

    /// Counts one out who opened as `mode`.
    pub fn close(&mut self, mode: AccessMode) {
        let count = if mode.writes() {
            &mut self.writers
        } else {
            &mut self.readers
        };
        *count = count.saturating_sub(1);
    }

    /// Whether nobody is left.
    pub const fn is_empty(&self) -> bool {
        self.readers == 0 && self.writers == 0
    }
}
