// SPDX-License-Identifier: GPL-2.0-only

//! Counters of which each CPU has its own, such as those of an I/O path.
//!
//! Counting takes no atomic operation and moves no cache line: a CPU changes only its own counters,
//! with instructions that no interrupt divides. In exchange a [`reset`](PerCpuCounters::reset) may
//! miss what another CPU counts at that moment.
//!
//! C header: [`include/linux/percpu-defs.h`](srctree/include/linux/percpu-defs.h)

use core::ptr::NonNull;

use kernel::{
    ffi::c_void,
    prelude::*, //
};

use crate::bindings;

use super::cpu;

/// `COUNT` counters for each possible CPU. They wrap around.
///
/// # Invariants
///
/// Per-CPU memory for `COUNT` counters, which the object owns.
pub(crate) struct PerCpuCounters<const COUNT: usize>(NonNull<u64>);

// SAFETY: Per-CPU memory has no thread affinity, and every access is one to the counter of the
// current CPU, or a read or a write of a whole counter.
unsafe impl<const COUNT: usize> Send for PerCpuCounters<COUNT> {}
// SAFETY: As above.
unsafe impl<const COUNT: usize> Sync for PerCpuCounters<COUNT> {}

impl<const COUNT: usize> PerCpuCounters<COUNT> {
    /// Creates counters of value 0 (`alloc_percpu`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: It has no requirements but that the caller may sleep.
        let counters = unsafe { bindings::alloc_percpu_u64(COUNT) };

        // INVARIANT: Allocated just now.
        NonNull::new(counters).map(Self).ok_or(ENOMEM)
    }

    /// Adds `amount` to `counter`, on the current CPU (`this_cpu_add`). Any context.
    #[inline]
    pub(crate) fn add(&self, counter: usize, amount: u64) {
        if counter < COUNT {
            // SAFETY: By the invariant the memory has that counter.
            unsafe { bindings::this_cpu_add_u64(self.0.as_ptr().wrapping_add(counter), amount) };
        }
    }

    /// Adds 1 to `counter`, and `amount` to the next one, on the current CPU. Any context.
    #[inline]
    pub(crate) fn count(&self, counter: usize, amount: u64) {
        if counter.saturating_add(1) < COUNT {
            let counter = self.0.as_ptr().wrapping_add(counter);
            // SAFETY: By the invariant the memory has both counters.
            unsafe { bindings::rtrs_this_cpu_count_u64(counter, amount) };
        }
    }

    /// Subtracts 1 from `counter`, on the current CPU. Any context.
    #[inline]
    pub(crate) fn decrement(&self, counter: usize) {
        self.add(counter, u64::MAX);
    }

    /// Returns `counter` of each possible CPU.
    pub(crate) fn by_cpu(&self, counter: usize) -> impl Iterator<Item = u64> + '_ {
        (0..cpu::ids()).map(move |cpu| match counter < COUNT {
            // SAFETY: By the invariant the memory has that counter, for each CPU that may be.
            true => unsafe {
                bindings::per_cpu_read_u64(self.0.as_ptr().wrapping_add(counter), cpu)
            },
            false => 0,
        })
    }

    /// Returns the sum of `counter` over all CPUs.
    pub(crate) fn sum(&self, counter: usize) -> u64 {
        self.by_cpu(counter).fold(0, u64::wrapping_add)
    }

    /// Sets `counter` to 0 on all CPUs.
    pub(crate) fn reset(&self, counter: usize) {
        if counter < COUNT {
            for cpu in 0..cpu::ids() {
                // SAFETY: As in `by_cpu`.
                unsafe { bindings::per_cpu_clear_u64(self.0.as_ptr().wrapping_add(counter), cpu) };
            }
        }
    }
}

impl<const COUNT: usize> Drop for PerCpuCounters<COUNT> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the object owns the memory, and nobody uses it any more.
        unsafe { bindings::free_percpu(self.0.as_ptr().cast::<c_void>()) };
    }
}
