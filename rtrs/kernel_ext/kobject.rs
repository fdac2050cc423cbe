// SPDX-License-Identifier: GPL-2.0-only

//! Kernel objects as places in sysfs.
//!
//! Whatever is made below a place holds a [`SysfsParent`] of it, and a place stays
//! registered as long as one exists. So nothing is ever removed from under a
//! file or directory that is still in use, whatever the order of drops.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h)

use core::ptr::NonNull;

use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::class::ClassDevice;
use crate::bindings;

/// Something that is represented by a kobject, such as the target of a link.
///
/// # Safety
///
/// The pointer is to an initialised kobject that stays allocated while the
/// implementor lives.
pub unsafe trait Kobject {
    /// The kobject.
    fn as_kobj(&self) -> *mut bindings::kobject;
}

/// A counted reference to a kobject that belongs to someone else.
///
/// It keeps the memory of the object, not its registration. Drop may sleep.
///
/// # Invariants
///
/// Owns one reference of the kobject.
pub struct KobjectRef(NonNull<bindings::kobject>);

// SAFETY: The reference count is atomic, and the put may come from any task.
unsafe impl Send for KobjectRef {}
// SAFETY: Shared access does nothing but read the pointer.
unsafe impl Sync for KobjectRef {}

impl KobjectRef {
    /// Takes a reference to `kobj`.
    ///
    /// # Safety
    ///
    /// `kobj` points to an initialised kobject with a reference count above
    /// zero. The code that releases it (such as the operations of a disk)
    /// outlives the returned object.
    pub unsafe fn get(kobj: NonNull<bindings::kobject>) -> Self {
        // SAFETY: The caller passes a live kobject.
        unsafe { bindings::kobject_get(kobj.as_ptr()) };

        // INVARIANT: The reference was taken above.
        Self(kobj)
    }

    /// Makes the object a place below which directories and links may be made.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The object is in sysfs, and its owner removes it from there only after
    /// everything made below it has been dropped, and every clone of the
    /// returned [`SysfsParent`] with it.
    pub unsafe fn assume_parent(self) -> Result<SysfsParent> {
        // INVARIANT: By the safety requirements.
        Ok(SysfsParent(ParentKind::Foreign(Arc::new(
            self, GFP_KERNEL,
        )?)))
    }
}

impl Drop for KobjectRef {
    fn drop(&mut self) {
        // SAFETY: Gives back the reference owned by the type invariants.
        unsafe { bindings::kobject_put(self.0.as_ptr()) };
    }
}

// SAFETY: The reference keeps the object allocated.
unsafe impl Kobject for KobjectRef {
    fn as_kobj(&self) -> *mut bindings::kobject {
        self.0.as_ptr()
    }
}

/// A directory without files of its own: the kobject behind [`super::sysfs::SysfsDir`].
///
/// The kobject is one whose type is in the core kernel. Its release, which
/// `CONFIG_DEBUG_KOBJECT_RELEASE` puts off by seconds, needs no code of a
/// module that may be gone by then.
///
/// # Invariants
///
/// The kobject is in sysfs until drop, and one reference of it is owned.
pub(super) struct KobjectDir {
    kobj: NonNull<bindings::kobject>,
    /// Keeps what it lies in registered.
    _parent: SysfsParent,
}

// SAFETY: Registration and removal of kobjects may happen on any task.
unsafe impl Send for KobjectDir {}
// SAFETY: Shared access does nothing but read the pointer.
unsafe impl Sync for KobjectDir {}

impl KobjectDir {
    /// Creates the directory `name`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a bad name, `EEXIST` when the name is taken, `ENOMEM`.
    pub(super) fn new(parent: SysfsParent, name: &CStr) -> Result<Arc<Self>> {
        super::check_name(name)?;
        if parent.has(name) {
            return Err(EEXIST);
        }

        // SAFETY: The parent is in sysfs while `parent` lives; the name is copied.
        let kobj =
            unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent.as_kobj()) };

        // INVARIANT: On success the kobject is in sysfs and the reference is ours.
        let folder = Self {
            kobj: NonNull::new(kobj).ok_or(ENOMEM)?,
            _parent: parent,
        };
        Ok(Arc::new(folder, GFP_KERNEL)?)
    }

    /// Gives the directory another name. What is open below it stays open.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a bad name, `EEXIST` when the name is taken, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// No other call for the same directory runs at the same time.
    pub(super) unsafe fn rename(&self, name: &CStr) -> Result {
        super::check_name(name)?;

        // SAFETY: The kobject is in sysfs by the type invariants, and callers take turns;
        // the name is copied.
        to_result(unsafe { bindings::kobject_rename(self.kobj.as_ptr(), name.as_char_ptr()) })
    }
}

// SAFETY: The kobject is owned until drop.
unsafe impl Kobject for KobjectDir {
    fn as_kobj(&self) -> *mut bindings::kobject {
        self.kobj.as_ptr()
    }
}

impl Drop for KobjectDir {
    fn drop(&mut self) {
        let kobj = self.kobj.as_ptr();

        // SAFETY: In sysfs and owned by the type invariants. Removal does not
        // wait for the release of the object, which may be put off.
        unsafe {
            bindings::kobject_del(kobj);
            bindings::kobject_put(kobj);
        }
    }
}

/// Keeps a place in sysfs registered, so that something can be made below it.
///
/// # Invariants
///
/// The kobject stays in sysfs while this object lives.
#[derive(Clone)]
pub struct SysfsParent(ParentKind);

#[derive(Clone)]
enum ParentKind {
    Device(ClassDevice),
    KobjectDir(Arc<KobjectDir>),
    Foreign(Arc<KobjectRef>),
}

impl SysfsParent {
    pub(super) fn device(device: &ClassDevice) -> Self {
        // INVARIANT: A class device is registered while a handle of it exists.
        Self(ParentKind::Device(device.clone()))
    }

    pub(super) fn folder(folder: &Arc<KobjectDir>) -> Self {
        // INVARIANT: By the type invariants of `KobjectDir`.
        Self(ParentKind::KobjectDir(folder.clone()))
    }

    /// Whether something called `name` is in this directory.
    pub(super) fn has(&self, name: &CStr) -> bool {
        // SAFETY: The kobject is in sysfs, so its node is valid; a node that was
        // found comes with a reference, which is given back (null is allowed).
        unsafe {
            let node = bindings::kernfs_find_and_get_ns(
                (*self.as_kobj()).sd,
                name.as_char_ptr(),
                core::ptr::null(),
            );
            bindings::kernfs_put(node);
            !node.is_null()
        }
    }
}

// SAFETY: Each kind of place keeps its kobject allocated.
unsafe impl Kobject for SysfsParent {
    fn as_kobj(&self) -> *mut bindings::kobject {
        match &self.0 {
            ParentKind::Device(device) => device.as_kobj(),
            ParentKind::KobjectDir(folder) => folder.as_kobj(),
            ParentKind::Foreign(kobj) => kobj.as_kobj(),
        }
    }
}

/// A place in sysfs below which directories and links may be made.
pub trait AsSysfsParent {
    /// A handle that keeps the place registered.
    fn parent(&self) -> SysfsParent;
}

impl AsSysfsParent for SysfsParent {
    fn parent(&self) -> SysfsParent {
        self.clone()
    }
}
