// SPDX-License-Identifier: GPL-2.0-only

//! Numbers of CPUs.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpu::CpuId;

use crate::bindings;

/// Returns the number of CPUs that are online (`num_online_cpus`).
pub fn online() -> u32 {
    // SAFETY: An atomic counter of the kernel, always valid and read at once.
    let count = unsafe {
        (&raw const bindings::__num_online_cpus)
            .cast::<i32>()
            .read_volatile()
    };

    count.max(1).unsigned_abs()
}

/// Returns a number above every CPU number (`nr_cpu_ids`).
pub fn ids() -> u32 {
    kernel::cpu::nr_cpu_ids()
}

/// Returns the number of the current CPU; the task may have moved by the time it is used.
pub(crate) fn current() -> u32 {
    CpuId::current().as_u32()
}
