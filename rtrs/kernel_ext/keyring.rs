// SPDX-License-Identifier: GPL-2.0-only

//! The keyring `.rnbd` of the kernel, in which root puts the keys of sessions.
//!
//! The keys are of type `logon`, which no program can read, and are called `rnbd:<name>`. The
//! keyring belongs to the module, as work of a session runs in kernel threads, which have no
//! keyrings of a user.
//!
//! C header: [`include/linux/key.h`](srctree/include/linux/key.h)

use core::{
    ptr::{
        null_mut,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CString,
    sync::rcu, //
};

use rnbd_proto::auth::{
    KeyName,
    MAX_KEY_SIZE,
    MIN_KEY_SIZE, //
};

use crate::{
    bindings,
    kernel_ext::log::Plain, //
};

use super::{
    hmac::HmacKey,
    random, //
};

/// The keyring; null unless there is a [`Registration`].
static KEYRING: AtomicPtr<bindings::key> = AtomicPtr::new(null_mut());

/// Owns the keyring. Drop revokes it, with all keys that are in no other keyring.
///
/// The module must drop it last: [`find`] is called by modules that use this one.
pub(crate) struct Registration(NonNull<bindings::key>);

// SAFETY: Keyrings may be used by any thread.
unsafe impl Send for Registration {}
// SAFETY: As above; there is no method that takes a shared reference.
unsafe impl Sync for Registration {}

/// Creates the keyring (`keyring_alloc`). To be called once.
pub(crate) fn register() -> Result<Registration> {
    let root = (
        bindings::kuid_t { val: 0 },
        bindings::kgid_t { val: 0 }, //
    );
    // SAFETY: The description is a C string; the credentials of this task stay while it runs.
    let keyring = from_err_ptr(unsafe {
        bindings::keyring_alloc(
            c".rnbd".as_char_ptr(),
            root.0,
            root.1,
            bindings::current_cred(),
            bindings::RNBD_KEYRING_PERM,
            bindings::KEY_ALLOC_NOT_IN_QUOTA as usize,
            null_mut(),
            null_mut(),
        )
    })?;
    let keyring = NonNull::new(keyring).ok_or(ENOMEM)?;
    KEYRING.store(keyring.as_ptr(), Release);
    Ok(Registration(keyring))
}

impl Drop for Registration {
    fn drop(&mut self) {
        KEYRING.store(null_mut(), Release);
        // SAFETY: The keyring is alive; this gives up the only reference of the module.
        unsafe {
            bindings::key_revoke(self.0.as_ptr());
            bindings::key_put(self.0.as_ptr());
        }
    }
}

/// A reference to a key in the keyring.
struct Key(NonNull<bindings::key>);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: `keyring_search` has taken a reference.
        unsafe { bindings::key_put(self.0.as_ptr()) };
    }
}

/// Returns a key that nobody else has.
pub(crate) fn throwaway() -> Result<HmacKey> {
    let (mut raw, mut prepared) = ([0; MIN_KEY_SIZE], HmacKey::new()?);
    random::fill(&mut raw);
    prepared.prepare(&raw);
    Ok(prepared)
}

/// Returns the key `name`, as it is in the keyring now. Sleeps.
///
/// # Errors
///
/// `ENOKEY`, `EKEYEXPIRED` or `EKEYREVOKED` when there is no valid one; `EKEYREJECTED`, with a
/// line in the log, when it is too short or too long.
pub(crate) fn find(name: &KeyName) -> Result<HmacKey> {
    let description = CString::try_from_fmt(fmt!("rnbd:{}", Plain(name)))?;
    let keyring = NonNull::new(KEYRING.load(Acquire)).ok_or(ENOKEY)?;
    // SAFETY: The registration keeps the keyring alive, as it is dropped after the callers of
    // this function are gone. The type is a static of the kernel, the description a C string.
    let found = from_err_ptr(unsafe {
        bindings::keyring_search(
            bindings::make_key_ref(keyring.as_ptr(), true),
            &raw mut bindings::key_type_logon,
            description.as_char_ptr(),
            false,
        )
    })
    .map_err(|e| if e == EAGAIN { ENOKEY } else { e })?;
    // SAFETY: This only clears a bit of the pointer.
    let key = NonNull::new(unsafe { bindings::key_ref_to_ptr(found) }).ok_or(ENOKEY)?;
    let key = Key(key);

    let mut prepared = HmacKey::new()?;
    let section = rcu::read_lock();
    // SAFETY: In an RCU read-side section; the payload of a `logon` key is that of a user's key.
    let payload = unsafe { bindings::user_key_payload_rcu(key.0.as_ptr()) };
    if payload.is_null() {
        // Meanwhile.
        return Err(EKEYREVOKED);
    }
    // SAFETY: Not null, so valid until the section ends.
    let len = usize::from(unsafe { (*payload).datalen });
    if !(MIN_KEY_SIZE..=MAX_KEY_SIZE).contains(&len) {
        pr_err!(
            "key rnbd:{} has {len} bytes, not {MIN_KEY_SIZE} to {MAX_KEY_SIZE}\n",
            Plain(name)
        );
        return Err(EKEYREJECTED);
    }
    // SAFETY: `datalen` bytes of data follow the header of the payload, which is valid as above.
    let raw = unsafe { core::slice::from_raw_parts((&raw const (*payload).data).cast(), len) };
    prepared.prepare(raw);
    drop(section);
    Ok(prepared)
}
