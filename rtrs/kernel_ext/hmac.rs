// SPDX-License-Identifier: GPL-2.0-only

//! HMAC-SHA256, by the library of the kernel.
//!
//! C header: [`include/crypto/sha2.h`](srctree/include/crypto/sha2.h)

use kernel::prelude::*;

use rnbd_proto::auth::{
    Mac,
    ProofKey,
    PROOF_SIZE, //
};

use crate::bindings;

/// A key that is prepared for HMAC-SHA256. Drop overwrites it.
pub(crate) struct HmacKey(KBox<bindings::hmac_sha256_key>);

impl HmacKey {
    /// Allocates an empty key, which [`HmacKey::prepare`] fills.
    pub(super) fn new() -> Result<Self> {
        let key = bindings::hmac_sha256_key::default();
        Ok(Self(KBox::new(key, GFP_KERNEL)?))
    }

    /// Prepares the key `raw` (`hmac_sha256_preparekey`). Any context.
    pub(super) fn prepare(&mut self, raw: &[u8]) {
        // SAFETY: The key is writable, and `raw` is readable for its length.
        unsafe { bindings::hmac_sha256_preparekey(&raw mut *self.0, raw.as_ptr(), raw.len()) };
    }
}

impl ProofKey for HmacKey {
    type Mac = HmacMac;

    fn begin(&self) -> HmacMac {
        let mut mac = HmacMac(bindings::hmac_sha256_ctx::default());
        // SAFETY: The context is writable, the key is prepared.
        unsafe { bindings::hmac_sha256_init(&raw mut mac.0, &raw const *self.0) };
        mac
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        // SAFETY: The key is writable, and zeroes are a valid one.
        unsafe { wipe(&raw mut *self.0) };
    }
}

/// The computation of an HMAC-SHA256. Drop overwrites it, as who reads it can compute others.
pub(crate) struct HmacMac(bindings::hmac_sha256_ctx);

impl Mac for HmacMac {
    fn update(&mut self, bytes: &[u8]) {
        // SAFETY: The context was initialised, and `bytes` is readable for its length.
        unsafe { bindings::hmac_sha256_update(&raw mut self.0, bytes.as_ptr(), bytes.len()) };
    }

    fn finish(mut self) -> [u8; PROOF_SIZE] {
        let mut mac = [0; PROOF_SIZE];
        // SAFETY: The context was initialised; an HMAC-SHA256 has 32 bytes.
        unsafe { bindings::hmac_sha256_final(&raw mut self.0, mac.as_mut_ptr()) };
        mac
    }
}

impl Drop for HmacMac {
    fn drop(&mut self) {
        // SAFETY: The context is writable, and zeroes are a valid one.
        unsafe { wipe(&raw mut self.0) };
    }
}

/// Overwrites a value with zeroes (`memzero_explicit`), which the compiler does not leave out.
///
/// # Safety
///
/// `value` is writable, and zeroes are a valid value.
unsafe fn wipe<T>(value: *mut T) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::memzero_explicit(value.cast(), size_of::<T>()) };
}
