// SPDX-License-Identifier: GPL-2.0-only

//! Files, directories and links in sysfs.
//!
//! A set of [`Files`] is declared once with [`sysfs_files!`](crate::sysfs_files)
//! and bound to an `Arc` of the object that it speaks of, either in a directory
//! of its own ([`SysfsDir`]) or directly in a class device ([`Attrs`]).
//!
//! # Removal
//!
//! Dropping a [`SysfsDir`] or [`Attrs`] removes its files and waits for their running
//! callbacks. Then nothing of it can be called any more and its `Arc` is gone,
//! which is what makes unloading a module safe: attributes do not pin the module
//! they belong to, so all must be dropped by the time a module is unloaded.
//!
//! As dropping waits for callbacks, no lock that the callbacks take may be held
//! over it.
//!
//! An object that owns its own files keeps itself: it must give them up, usually
//! by an `Option` being taken, to be freed.
//!
//! # Removal from within a callback
//!
//! A store callback that wants its own file removed, directly or by waiting for
//! something that removes it, must first call [`StoreCtx::break_protection`].
//! From there on removal does not wait for this callback. Both the memory of the
//! file and the object stay until the callback has returned, and so do the module
//! of the file and that of whom the object belongs to: neither can be unloaded
//! while such a callback runs. Other stores may enter until the removal, so who
//! removes what must be decided by a state of the object itself.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

mod dir;
mod entry;
mod set;

use core::cell::OnceCell;
use core::ptr::NonNull;

use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::ArcBorrow;
use kernel::sync::LockClassKey;

use super::log::Plain;
use crate::bindings;

pub use dir::Attrs;
pub use dir::Link;
pub use dir::SysfsDir;

/// Takes the `1` that a file which acts is written, and nothing else.
///
/// # Errors
///
/// `EINVAL`, with a line in the log that names `who` and `file`.
pub(crate) fn expect_one(input: &[u8], who: &dyn fmt::Display, file: &str) -> Result {
    if input == b"1" {
        return Ok(());
    }
    let input = Plain(input.escape_ascii());
    pr_err!("{who}: {file}: invalid value '{input}', must be 1\n");
    Err(EINVAL)
}

/// Prints the content of a file.
pub type Show<T> = fn(this: ArcBorrow<'_, T>, buf: &mut Buf<'_>) -> Result;

/// Acts on what was written to a file, given without one trailing newline.
pub type Store<T> = fn(this: ArcBorrow<'_, T>, input: &[u8], ctx: &StoreCtx<'_>) -> Result;

/// The declaration of one file; made by [`sysfs_files!`](crate::sysfs_files).
pub struct Attr<T: 'static> {
    name: &'static CStr,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
    /// Lockdep wants one for each attribute that is not static itself. Being of
    /// the declaration, it is shared by all files made of it.
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

/// The declaration of the files that a kind of object has.
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
///     /// What `/sys/class/…/paths/<path>` shows.
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

/// What a show callback prints to: at most one page.
pub struct Buf<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl<'a> Buf<'a> {
    fn new(page: &'a mut [u8]) -> Self {
        Self { page, len: 0 }
    }

    /// Appends what [`fmt!`] makes.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when it does not fit.
    pub fn print(&mut self, args: fmt::Arguments<'_>) -> Result {
        fmt::Write::write_fmt(self, args).map_err(|_| EMSGSIZE)
    }

    /// Appends `text`.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` when it does not fit; then nothing is appended.
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

/// The running store callback, as seen by itself.
pub struct StoreCtx<'a> {
    set: &'a set::FileSet,
    kobj: *mut bindings::kobject,
    attr: *const bindings::attribute,
    /// Set once protection is broken.
    broken: OnceCell<Broken>,
}

/// Protection that was broken.
struct Broken {
    /// What `sysfs_break_active_protection` gave.
    node: NonNull<bindings::kernfs_node>,
    /// That of the file, and that whose code the object may call when it goes.
    _modules: [ModuleRef; 2],
}

/// A module that stays.
///
/// # Invariants
///
/// Owns a reference to the module.
struct ModuleRef(*mut bindings::module);

impl ModuleRef {
    /// Takes a reference; `ENODEV` when the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `module` is that of code, which is there for the duration of this call.
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
    /// Lets the file be removed while this callback runs, by which the object may go,
    /// and with it something that is code of module `user`.
    ///
    /// It stays in force until the callback returns; repeated calls do nothing.
    ///
    /// # Errors
    ///
    /// `ENODEV` when one of the modules is being unloaded. The callback must then leave
    /// the removal to the unloading.
    pub fn break_protection(&self, user: &ThisModule) -> Result {
        if self.broken.get().is_some() {
            return Ok(());
        }
        // SAFETY: Both modules are there as long as a callback of the file has not
        // returned, protected as this one still is.
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
