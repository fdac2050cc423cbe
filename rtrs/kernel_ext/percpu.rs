// SPDX-License-Identifier: GPL-2.0-only

//! One value for each CPU, such as the counters of an I/O path.
//!
//! A task may move to another CPU while it uses the value of the former one, so values must
//! allow concurrent access (atomics). In the common case a single CPU uses a value, which is
//! on cache lines of its own and then causes no traffic between caches.

use kernel::prelude::*;

use super::{
    cache_padded::CachePadded,
    cpu, //
};

/// A value for each possible CPU.
pub(crate) struct PerCpu<T>(KVVec<CachePadded<T>>);

impl<T> PerCpu<T> {
    /// Creates the values.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(mut value: impl FnMut() -> T) -> Result<Self> {
        let count = usize::try_from(cpu::ids())?.max(1);

        let mut values = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            values.push(CachePadded(value()), GFP_KERNEL)?;
        }
        Ok(Self(values))
    }

    /// Returns the value of the current CPU. From any context.
    #[inline]
    pub(crate) fn this(&self) -> Option<&T> {
        self.get(cpu::current())
    }

    /// Returns the value of CPU number `cpu`.
    #[inline]
    pub(crate) fn get(&self, cpu: u32) -> Option<&T> {
        let index = usize::try_from(cpu).ok()?;
        self.0.get(index).map(|padded| &**padded)
    }

    /// Returns the values of all CPUs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().map(|padded| &**padded)
    }
}
