// SPDX-License-Identifier: GPL-2.0-only

//! How many CPUs there are, and which one this is.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpu::CpuId;

use crate::bindings;

/// The number of CPUs that are online now.
pub fn online() -> u32 {
    // SAFETY: A counter of the kernel's that is always valid, read in one go.
    let count = unsafe {
        (&raw const bindings::__num_online_cpus)
            .cast::<i32>()
            .read_volatile()
    };

    count.max(1).unsigned_abs()
}

/// A bound above every CPU number that can occur.
pub fn ids() -> u32 {
    kernel::cpu::nr_cpu_ids()
}

/// The CPU this runs on, which may have changed by the time it is used.
pub fn current() -> u32 {
    CpuId::current().as_u32()
}
