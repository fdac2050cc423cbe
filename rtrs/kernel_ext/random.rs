// SPDX-License-Identifier: GPL-2.0-only

//! Random numbers, and identifiers made of them.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use crate::bindings;

/// Returns a random number (`get_random_u32`). From any context.
pub(crate) fn u32() -> u32 {
    // SAFETY: May be called from any context.
    unsafe { bindings::get_random_u32() }
}

/// Fills `buf` with random bytes (`get_random_bytes`).
pub(crate) fn fill(buf: &mut [u8]) {
    // SAFETY: The buffer is writable for its length.
    unsafe { bindings::get_random_bytes(buf.as_mut_ptr().cast(), buf.len()) };
}

/// Returns a random UUID (RFC 9562, version 4), in network byte order.
pub(crate) fn uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    fill(&mut uuid);

    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    uuid
}
