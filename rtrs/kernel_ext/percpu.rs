// SPDX-License-Identifier: GPL-2.0-only

//! One value for each CPU, such as the counters of an I/O path.
//!
//! Values are shared, each on cache lines of its own: a task may be moved to
//! another CPU while it uses the value of the one it was on, so they must be such
//! as may be accessed by several at a time (atomics). In the common case only one
//! CPU touches a value, and then it costs no traffic between caches.

use kernel::prelude::*;

use super::cpu;

/// Keeps neighbours off the cache lines of a value, two of which processors may
/// fetch at once.
#[repr(align(128))]
struct Padded<T>(T);

/// A value for each CPU that can ever be.
pub struct PerCpu<T>(KVVec<Padded<T>>);

impl<T> PerCpu<T> {
    /// Makes the values.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(mut value: impl FnMut() -> T) -> Result<Self> {
        let count = usize::try_from(cpu::ids())?.max(1);

        let mut values = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            values.push(Padded(value()), GFP_KERNEL)?;
        }
        Ok(Self(values))
    }

    /// The value of the CPU this runs on. From any context.
    #[inline]
    pub fn this(&self) -> Option<&T> {
        self.get(cpu::current())
    }

    /// The value of CPU number `cpu`.
    #[inline]
    pub fn get(&self, cpu: u32) -> Option<&T> {
        let index = usize::try_from(cpu).ok()?;
        self.0.get(index).map(|padded| &padded.0)
    }

    /// The values of all CPUs.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|padded| &padded.0)
    }
}
