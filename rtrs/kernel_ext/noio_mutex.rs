// SPDX-License-Identifier: GPL-2.0-only

//! Mutexes whose holders I/O may wait for.

#![deny(unsafe_code)]

use core::ops::{
    Deref,
    DerefMut, //
};

use kernel::{
    prelude::*,
    str::CStr,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        LockClassKey,
        Mutex, //
    }, //
};

use super::{
    killable,
    noio::NoIoScope, //
};

/// A mutex that a task needs to bring a path or a device back, for which I/O waits.
///
/// No allocation of its holder waits for I/O, which could be that very I/O, whatever the flags of
/// the allocation are ([`NoIoScope`]).
#[pin_data]
pub struct NoIoMutex<T> {
    #[pin]
    inner: Mutex<T>,
}

/// The right to use the data of a [`NoIoMutex`]. Fields are dropped in this order.
#[must_use = "the lock is released when this is dropped"]
pub struct NoIoGuard<'a, T> {
    guard: Guard<'a, T, MutexBackend>,
    _scope: NoIoScope,
}

/// Initialises a [`NoIoMutex`](crate::kernel_ext::noio_mutex::NoIoMutex) with a value and a name
/// for lockdep.
#[macro_export]
macro_rules! new_noio_mutex {
    ($value:expr, $name:literal) => {
        $crate::kernel_ext::noio_mutex::NoIoMutex::new(
            $value,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

impl<T> NoIoMutex<T> {
    /// Creates a mutex; use [`new_noio_mutex!`](crate::new_noio_mutex).
    pub fn new(
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Mutex::new(value, name, key),
        })
    }

    /// Waits for the lock.
    pub fn lock(&self) -> NoIoGuard<'_, T> {
        let scope = NoIoScope::begin();
        NoIoGuard {
            guard: self.inner.lock(),
            _scope: scope,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<NoIoGuard<'_, T>> {
        let scope = NoIoScope::begin();
        let guard = self.inner.try_lock()?;
        Some(NoIoGuard {
            guard,
            _scope: scope,
        })
    }

    /// Waits for the lock, unless the task is killed.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` when the task is being killed.
    pub fn lock_killable(&self) -> Result<NoIoGuard<'_, T>> {
        let scope = NoIoScope::begin();
        Ok(NoIoGuard {
            guard: killable::lock(&self.inner)?,
            _scope: scope,
        })
    }
}

impl<T> Deref for NoIoGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: Unpin> DerefMut for NoIoGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
