// SPDX-License-Identifier: GPL-2.0-only

//! Files, directories and links in sysfs.
//!
//! A set of [`Files`] is declared once with [`sysfs_files!`](crate::sysfs_files)
//! and bound to an `Arc` of the object that it shows, either in a directory
//! of its own ([`SysfsDir`]) or directly in a class device ([`Attrs`]).
//!
//! # Removal
//!
//! Dropping a [`SysfsDir`] or [`Attrs`] removes its files and waits for their running
//! callbacks. After that no callback is called, and the `Arc` is dropped. This makes the
//! unloading of a module safe: attributes do not pin the module that they belong to, so all
//! must be dropped by the time it is unloaded.
//!
//! As the drop waits for callbacks, it must not happen under a lock that a callback takes.
//!
//! An object that owns its own files keeps itself alive: to be freed it must drop them first,
//! usually by taking them out of an `Option`.
//!
//! # Removal from within a callback
//!
//! A store callback that wants its own file removed, directly or by waiting for
//! something that removes it, must first call [`StoreCtx::break_protection`].
//! From there on removal does not wait for this callback. The memory of the file and the
//! object stay until the callback has returned, and so do the module of the file and that of
//! the owner of the object: neither can be unloaded while such a callback runs. Other stores
//! may enter until the removal, so a state of the object itself must decide which of them
//! removes it.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

mod dir;
mod entry;
mod set;

use core::{
    cell::OnceCell,
    ptr::NonNull, //
};

use kernel::{
    fmt,
    prelude::*,
    sync::{
        ArcBorrow,
        LockClassKey, //
    }, //
};

use crate::bindings;

use super::log::Plain;

pub use dir::{
    Attrs,
    Link,
    SysfsDir, //
};

/// Checks that `1` was written to a file that triggers an action.
///
/// # Errors
///
/// `EINVAL` for any other input, which is logged with `subject` and `file`.
pub(crate) fn expect_one(input: &[u8], subject: &dyn fmt::Display, file: &str) -> Result {
    if input == b"1" {
        return Ok(());
    }
    let input = Plain(input.escape_ascii());
    pr_err!("{subject}: {file}: invalid value '{input}', must be 1\n");
    Err(EINVAL)
}

/// Prints the contents of a file.
pub(super) type Show<T> = fn(this: ArcBorrow<'_, T>, buf: &mut Buf<'_>) -> Result;

/// Handles a write to a file. `input` is without one trailing newline.
pub(super) type Store<T> = fn(this: ArcBorrow<'_, T>, input: &[u8], ctx: &StoreCtx<'_>) -> Result;

/// The declaration of one file; made by [`sysfs_files!`](crate::sysfs_files).
pub struct Attr<T: 'static> {
    name: &'static CStr,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
    /// Lockdep requires one for each attribute that is not static itself. All files of the
    /// declaration share it.
    #[cfg_attr(not(CONFIG_DEBUG_LOCK_ALLOC), expect(dead_code))]
    key: &'static LockClassKey,
}

impl<T> Attr<T> {
    #[doc(hidden)]
    pub const fn new(name: &'static CStr, key: &'static LockClassKey) -> Self {
        Self {
            name,
            show: None,
            store: None,
            key,
        }
    }

    #[doc(hidden)]
    pub const fn show(mut self, show: Show<T>) -> Self {
        self.show = Some(show);
        self
    }

    #[doc(hidden)]
    pub const fn store(mut self, store: Store<T>) -> Self {
        self.store = Some(store);
        self
    }
}

/// The declaration of the files of one type of object.
pub struct Files<T: 'static> {
    owner: ThisModule,
    attrs: &'static [Attr<T>],
}

impl<T> Files<T> {
    #[doc(hidden)]
    pub const fn new(owner: ThisModule, attrs: &'static [Attr<T>]) -> Self {
        Self { owner, attrs }
    }
}

/// Declares the files of an object.
///
/// Readable files get mode 0444, writable ones 0200, and those that are both
/// 0644. The functions are a [`Show`](crate::kernel_ext::sysfs::Show) and a
/// [`Store`](crate::kernel_ext::sysfs::Store), or closures that capture nothing.
///
/// # Examples
///
/// ```ignore
/// sysfs_files! {
///     /// The files of `/sys/class/…/paths/<path>`.
///     static PATH_FILES: Files<Path> = [
///         c"state" => show(Path::show_state);
///         c"reconnect" => show(|_, buf| buf.push(b"usage\n")) store(Path::reconnect);
///     ];
/// }
/// ```
#[expect(
    clippy::crate_in_macro_def,
    reason = "`LocalModule` of the caller is meant"
)]
#[macro_export]
macro_rules! sysfs_files {
    ($(
        $(#[$meta:meta])*
        $vis:vis static $files:ident: Files<$type:ty> = [
            $($name:literal => $($op:ident($callback:expr))+;)*
        ];
    )*) => {$(
        $(#[$meta])*
        $vis static $files: $crate::kernel_ext::sysfs::Files<$type> =
            $crate::kernel_ext::sysfs::Files::new(
                <crate::LocalModule as ::kernel::ModuleMetadata>::THIS_MODULE,
                &[$({
                    #[allow(unsafe_code, reason = "the macro upholds the contract")]
                    static KEY: ::kernel::sync::LockClassKey =
                        // SAFETY: It stays where it is, and statics are never dropped.
                        unsafe { ::kernel::sync::LockClassKey::new_static() };
                    $crate::kernel_ext::sysfs::Attr::new($name, &KEY)$(.$op($callback))+
                }),*],
            );
    )*};
}

/// The output buffer of a show callback, of less than a page.
pub struct Buf<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl<'a> Buf<'a> {
    fn new(page: &'a mut [u8]) -> Self {
        Self { page, len: 0 }
    }

    /// Appends formatted text.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when the text does not fit.
    pub fn print(&mut self, args: fmt::Arguments<'_>) -> Result {
        fmt::Write::write_fmt(self, args).map_err(|_| EMSGSIZE)
    }

    /// Appends `text`.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when the text does not fit; then nothing is appended.
    pub fn push(&mut self, text: &[u8]) -> Result {
        let end = self.len.checked_add(text.len()).ok_or(EMSGSIZE)?;
        let room = self.page.get_mut(self.len..end).ok_or(EMSGSIZE)?;

        room.copy_from_slice(text);
        self.len = end;
        Ok(())
    }
}

impl fmt::Write for Buf<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The context of a running store callback.
pub struct StoreCtx<'a> {
    set: &'a set::FileSet,
    kobj: *mut bindings::kobject,
    attr: *const bindings::attribute,
    /// Set once active protection is broken.
    broken: OnceCell<Broken>,
}

/// Broken active protection.
struct Broken {
    /// The result of `sysfs_break_active_protection`.
    node: NonNull<bindings::kernfs_node>,
    /// The module of the file, and that whose code the drop of the object may call.
    _modules: [ModuleRef; 2],
}

/// Waits, when it is dropped, until no task is in a function of this module any more that was called
/// before: to be dropped when the module is unloaded.
///
/// A callback that has broken the protection of its file lets go of the modules that it keeps
/// loaded, this one among them, and then returns. The task may be preempted in between, and nothing
/// but this waits for it: it neither sleeps nor is in an RCU section, and the file is gone.
pub(crate) struct CallbacksReturned;

impl Drop for CallbacksReturned {
    fn drop(&mut self) {
        // Waits until each task has slept, or is in user space.
        //
        // SAFETY: Modules are unloaded by a task that may sleep.
        unsafe { bindings::synchronize_rcu_tasks() };
    }
}

/// A reference that keeps a module loaded.
///
/// # Invariants
///
/// One reference to the module is owned.
struct ModuleRef(*mut bindings::module);

impl ModuleRef {
    /// Takes a reference; `ENODEV` when the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `module` is loaded for the duration of this call.
    unsafe fn take(module: *mut bindings::module) -> Result<Self> {
        // SAFETY: As the caller promises.
        match unsafe { bindings::try_module_get(module) } {
            // INVARIANT: Taken above.
            true => Ok(Self(module)),
            false => Err(ENODEV),
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::module_put(self.0) };
    }
}

impl StoreCtx<'_> {
    /// Allows the removal of the file while this callback runs
    /// ([`sysfs_break_active_protection`](srctree/include/linux/sysfs.h)).
    ///
    /// The removal may drop the object, and that may run code of module `user`, which is kept
    /// loaded. The permission lasts until the callback returns; repeated calls do nothing.
    ///
    /// # Errors
    ///
    /// `ENODEV` when one of the modules is being unloaded. The callback must then leave
    /// the removal to the unloading.
    pub fn break_protection(&self, user: &ThisModule) -> Result {
        if self.broken.get().is_some() {
            return Ok(());
        }
        // SAFETY: Both modules are loaded until this callback, still protected, returns.
        let modules = unsafe {
            [
                ModuleRef::take(self.set.owner())?,
                ModuleRef::take(user.as_ptr())?,
            ]
        };
        // SAFETY: Called from a callback of this very file. Its protection, not
        // broken so far, keeps the kobject in sysfs.
        let node = unsafe { bindings::sysfs_break_active_protection(self.kobj, self.attr) };
        let broken = Broken {
            node: NonNull::new(node).ok_or(ENODEV)?,
            _modules: modules,
        };
        // Empty, as seen above.
        let _ = self.broken.set(broken);
        Ok(())
    }
}
