// SPDX-License-Identifier: GPL-2.0-only

//! Safe abstractions over what the `kernel` crate lacks, for all three modules.
//!
//! Generic code ends up in the module that uses it, so generics here are thin
//! shells over functions of this crate or over symbols the kernel exports.

pub(crate) mod cache_padded;
pub mod class;
pub(crate) mod clock;
pub mod completion;
pub mod cpu;
pub mod debugfs;
pub(crate) mod hmac;
pub(crate) mod keyring;
pub mod killable;
pub mod kobject;
pub mod latency;
pub mod log;
pub mod net;
pub(crate) mod noio;
pub mod noio_mutex;
pub mod pages;
pub mod params;
pub(crate) mod percpu;
pub(crate) mod percpu_counters;
pub(crate) mod preempt;
pub(crate) mod random;
pub(crate) mod rcu;
pub mod ref_table;
pub(crate) mod set_once;
pub mod sysfs;
pub(crate) mod trace;
pub(crate) mod version;
pub mod work;
pub mod workqueue;

use kernel::{
    prelude::*,
    time::{
        Delta,
        Jiffies, //
    }, //
};

/// Converts a time span to milliseconds, rounded up.
pub(crate) fn millis_ceil(delta: Delta) -> i64 {
    delta.as_millis_ceil()
}

/// Converts a time span to jiffies, rounded up; negative spans are zero.
fn jiffies(delta: Delta) -> Jiffies {
    let millis = millis_ceil(delta).clamp(0, i64::from(i32::MAX));

    // CAST: Clamped to the range of an `i32` above.
    kernel::time::msecs_to_jiffies(millis as u32)
}

/// Checks a name for sysfs.
///
/// A `/` is refused: kobjects would silently convert it to a `!`, and links would keep it.
fn check_name(name: &CStr) -> Result {
    match name.to_bytes() {
        b"" | b"." | b".." => Err(EINVAL),
        bytes if bytes.contains(&b'/') => Err(EINVAL),
        _ => Ok(()),
    }
}
