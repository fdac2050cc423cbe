// SPDX-License-Identifier: GPL-2.0-only

//! Access modes: which further clients may open a device that is open.
//!
//! | new opener | no writer | one writer | two writers |
//! |---|---|---|---|
//! | `ro` | yes | yes | yes |
//! | `rw` | yes | no | no |
//! | `migration` | yes | yes | no |
//!
//! A writer is a client that has the device open as `rw` or `migration`.

use crate::wire::rnbd::AccessMode;

/// Largest number of writers of one device, reached while a virtual machine migrates.
const MAX_WRITERS: u32 = 2;

/// The access mode was denied, as the device has too many writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessDenied {
    /// Present number of writers.
    pub writers: u32,
}

impl AccessDenied {
    /// Returns the error number (positive) for the client.
    pub const fn errno(self) -> i32 {
        crate::error::EPERM
    }
}

/// The clients that have one device open. A lock of the device protects it.
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
    /// Creates the count of a device that is not open.
    pub const fn new() -> Self {
        Self {
            readers: 0,
            writers: 0,
        }
    }

    /// Adds an opener, if the rules allow it.
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

    /// Removes an opener with this `mode`.
    pub fn close(&mut self, mode: AccessMode) {
        let count = if mode.writes() {
            &mut self.writers
        } else {
            &mut self.readers
        };
        *count = count.saturating_sub(1);
    }

    /// Returns whether the device is not open.
    pub const fn is_empty(&self) -> bool {
        self.readers == 0 && self.writers == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table at the head of this file.
    #[test]
    fn access_rules() {
        let table = [
            (vec![], [true, true, true]),
            (vec![AccessMode::ReadWrite], [true, false, true]),
            (vec![AccessMode::Migration], [true, false, true]),
            (
                vec![AccessMode::ReadWrite, AccessMode::Migration],
                [true, false, false],
            ),
            (
                vec![AccessMode::Migration, AccessMode::Migration],
                [true, false, false],
            ),
            (
                vec![AccessMode::ReadOnly, AccessMode::ReadOnly],
                [true, true, true],
            ),
        ];
        for (present, expected) in table {
            for (mode, allowed) in [
                AccessMode::ReadOnly,
                AccessMode::ReadWrite,
                AccessMode::Migration,
            ]
            .into_iter()
            .zip(expected)
            {
                let mut openers = Openers::new();
                for mode in &present {
                    openers.open(*mode).unwrap();
                }
                let got = openers.open(mode);
                assert_eq!(got.is_ok(), allowed, "{present:?} {mode:?}");
                if got.is_ok() {
                    openers.close(mode);
                }
                assert_eq!(openers.is_empty(), present.is_empty());
                for mode in &present {
                    openers.close(*mode);
                }
                assert!(openers.is_empty());
            }
        }
    }
}
