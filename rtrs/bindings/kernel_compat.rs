// SPDX-License-Identifier: GPL-2.0-only

//! The `kernel` crate of 7.3, on 7.2.
//!
//! Re-exports the crate of the kernel and adds what ours use and it lacks. `Kbuild` passes this
//! crate as `kernel` to the others if the kernel is older than 7.3. It goes when no such kernel
//! is supported; see `Documentation/kernels.md`.

pub use kernel::*;

/// Error codes: 7.2 has those of `errno-base.h` and few others.
pub mod error {
    pub use kernel::error::*;

    /// All codes.
    pub mod code {
        pub use kernel::error::code::*;

        macro_rules! codes {
            ($($name:ident)*) => {$(
                #[doc = concat!("`", stringify!($name), "` of C.")]
                pub const $name: kernel::error::Error =
                    // SAFETY: The type has one field, a `NonZeroI32`, which must be a negative
                    // code.
                    unsafe { core::mem::transmute(-(kernel::bindings::$name as i32)) };
            )*};
        }

        codes! {
            EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY ECANCELED ECONNABORTED ECONNREFUSED ECONNRESET EHOSTUNREACH EKEYREJECTED EKEYREVOKED
            EMEDIUMTYPE ENAMETOOLONG ENETDOWN ENOBUFS ENODATA ENOKEY ENOTCONN ENOTUNIQ EOPNOTSUPP EPROTO
            EPROTONOSUPPORT ESHUTDOWN ESTALE
        }
    }
}

/// What each file of a module imports.
pub mod prelude {
    pub use kernel::prelude::*;

    pub use crate::{
        error::code::*,
        DeltaExt as _,
        VecExt as _, //
    };
}

/// Methods of `Delta`.
pub trait DeltaExt {
    /// Returns the number of milliseconds, rounded up.
    fn as_millis_ceil(self) -> i64;
}

impl DeltaExt for kernel::time::Delta {
    #[inline]
    fn as_millis_ceil(self) -> i64 {
        // As with `as_micros_ceil`, only positive spans are rounded.
        self.as_micros_ceil().saturating_add(999) / 1000
    }
}

/// Functions of `KVec`.
pub trait VecExt: Sized {
    /// Creates a vector of `len` zeroes.
    fn zeroed(len: usize, flags: kernel::alloc::Flags) -> Result<Self, kernel::alloc::AllocError>;
}

impl VecExt for kernel::alloc::KVec<u8> {
    #[inline]
    fn zeroed(len: usize, flags: kernel::alloc::Flags) -> Result<Self, kernel::alloc::AllocError> {
        Self::from_elem(0, len, flags)
    }
}

/// Metadata of a module. 7.2 has the module itself in a static of the crate.
pub trait ModuleMetadata {
    /// The name of the module.
    const NAME: &'static kernel::str::CStr;

    /// The module, `THIS_MODULE` of C.
    const THIS_MODULE: kernel::ThisModule = {
        #[allow(improper_ctypes, reason = "only its address is used")]
        extern "C" {
            static __this_module: kernel::types::Opaque<kernel::bindings::module>;
        }

        // SAFETY: Each module has the symbol, which is resolved where the constant is used.
        unsafe { kernel::ThisModule::from_ptr(__this_module.get()) }
    };
}

/// Creates an initialiser of a [`sync::SpinLockIrq`].
#[macro_export]
macro_rules! new_spinlock_irq {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sync::SpinLockIrq::new(
            $inner, $crate::optional_name!($($name)?), $crate::static_lock_class!())
    };
}

/// Locks and barriers.
pub mod sync {
    pub use kernel::sync::*;

    use kernel::{
        bindings,
        ffi::{
            c_char,
            c_ulong, //
        }, //
    };

    /// RCU.
    pub mod rcu {
        pub use kernel::sync::rcu::*;

        /// Waits for the end of all read-side sections that have begun.
        #[inline]
        pub fn synchronize_rcu() {
            // SAFETY: It has no requirements but that the caller may sleep.
            unsafe { kernel::bindings::synchronize_rcu() }
        }
    }

    /// Barriers, which take their kind from 7.3 on.
    pub mod barrier {
        /// A full barrier.
        pub struct Full;

        /// Orders all accesses before and after, for other CPUs.
        #[inline]
        pub fn smp_mb(_: Full) {
            kernel::sync::barrier::smp_mb()
        }
    }

    /// A spinlock that is taken with interrupts disabled.
    ///
    /// 7.3 counts how often interrupts were disabled, so that guards can be dropped in any
    /// order. Here a guard restores what it has found, so guards must be dropped in reverse
    /// order. No code of ours holds two.
    pub type SpinLockIrq<T> = lock::Lock<T, SpinLockIrqBackend>;

    /// The backend of [`SpinLockIrq`].
    pub struct SpinLockIrqBackend;

    extern "C" {
        #[link_name = "rust_helper_rtrs_spin_lock_irqsave"]
        fn spin_lock_irqsave(lock: *mut bindings::spinlock_t) -> c_ulong;
        #[link_name = "rust_helper_rtrs_spin_unlock_irqrestore"]
        fn spin_unlock_irqrestore(lock: *mut bindings::spinlock_t, flags: c_ulong);
    }

    // SAFETY: The lock is a `spinlock_t`, which excludes other holders. The state of interrupts
    // before it was taken is in the guard.
    unsafe impl lock::Backend for SpinLockIrqBackend {
        type State = bindings::spinlock_t;
        type GuardState = c_ulong;

        #[inline]
        unsafe fn init(
            ptr: *mut Self::State,
            name: *const c_char,
            key: *mut bindings::lock_class_key,
        ) {
            // SAFETY: By the safety requirements of this function.
            unsafe { bindings::__spin_lock_init(ptr, name, key) }
        }

        #[inline]
        unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
            // SAFETY: The lock is initialised.
            unsafe { spin_lock_irqsave(ptr) }
        }

        #[inline]
        unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
            // SAFETY: The caller holds the lock, and took it with these flags.
            unsafe { spin_unlock_irqrestore(ptr, *flags) }
        }

        #[inline]
        unsafe fn try_lock(_ptr: *mut Self::State) -> Option<Self::GuardState> {
            // Failing is allowed at any time. No code of ours tries.
            None
        }

        #[inline]
        unsafe fn assert_is_held(ptr: *mut Self::State) {
            // SAFETY: The lock is initialised.
            unsafe { bindings::spin_assert_is_held(ptr) }
        }
    }
}
