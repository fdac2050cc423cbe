// SPDX-License-Identifier: GPL-2.0-only

//! Atomics of this crate.
//!
//! They are those of `core`, on the host and in the kernel. The kernel has its own
//! (`kernel::sync::atomic`), but without `CONFIG_RUST_INLINE_HELPERS` each of their
//! operations, even a load, is a call of a C helper, and these run on the I/O path. A
//! change to the kernel's concerns this module alone: sizes are the same, `fetch_update` is
//! a loop around `cmpxchg`.

pub(crate) use core::sync::atomic::{
    AtomicU32,
    AtomicU64,
    AtomicU8,
    Ordering, //
};
