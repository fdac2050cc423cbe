// SPDX-License-Identifier: GPL-2.0-only

//! Kernel objects as directories in sysfs.
//!
//! Everything created below a directory holds a [`SysfsParent`] of it, and the directory stays
//! registered as long as one exists. So whatever the order of drops, no directory is removed
//! before the files and directories below it.
//!
//! C header: [`include/linux/kobject.h`](srctree/include/linux/kobject.h)

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::bindings;

use super::class::ClassDevice;

/// An object with a kobject, such as the target of a link.
///
/// # Safety
///
/// The pointer is to an initialised kobject that stays allocated while the
/// implementor lives.
pub unsafe trait Kobject {
    /// Returns the kobject.
    fn as_kobj(&self) -> *mut bindings::kobject;
}

/// A counted reference to a kobject of another owner.
///
/// It keeps the object allocated, but not registered. The drop may sleep.
///
/// # Invariants
///
/// Owns one reference of the kobject.
pub struct KobjectRef(NonNull<bindings::kobject>);

// SAFETY: The reference count is atomic, and the put may come from any task.
unsafe impl Send for KobjectRef {}
// SAFETY: Shared access only reads the pointer.
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

    /// Makes the object a directory below which directories and links can be created.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The object is in sysfs. Its owner removes it only after every object created below it,
    /// and every clone of the returned [`SysfsParent`], has been dropped.
    pub unsafe fn assume_parent(self) -> Result<SysfsParent> {
        // INVARIANT: By the safety requirements.
        Ok(SysfsParent(ParentKind::Foreign(Arc::new(
            self, GFP_KERNEL,
        )?)))
    }
}

impl Drop for KobjectRef {
    fn drop(&mut self) {
        // SAFETY: Drops the reference owned by the type invariants.
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
/// The type of the kobject is in the core kernel: its release, which
/// `CONFIG_DEBUG_KOBJECT_RELEASE` delays by seconds, needs no code of a module that may be
/// unloaded by then.
///
/// # Invariants
///
/// The kobject is in sysfs until drop, and one reference of it is owned.
pub(super) struct KobjectDir {
    kobj: NonNull<bindings::kobject>,
    /// Keeps the parent directory registered.
    _parent: SysfsParent,
}

// SAFETY: Registration and removal of kobjects may happen on any task.
unsafe impl Send for KobjectDir {}
// SAFETY: Shared access only reads the pointer.
unsafe impl Sync for KobjectDir {}

impl KobjectDir {
    /// Creates the directory `name`
    /// ([`kobject_create_and_add`](srctree/include/linux/kobject.h)).
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid name, `EEXIST` when the name is taken, `ENOMEM`.
    pub(super) fn new(parent: SysfsParent, name: &CStr) -> Result<Arc<Self>> {
        super::check_name(name)?;
        if parent.has(name) {
            return Err(EEXIST);
        }

        // SAFETY: The parent is in sysfs while `parent` lives; the name is copied.
        let kobj =
            unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent.as_kobj()) };

        // INVARIANT: On success the kobject is in sysfs and the reference is owned.
        let dir = Self {
            kobj: NonNull::new(kobj).ok_or(ENOMEM)?,
            _parent: parent,
        };
        Ok(Arc::new(dir, GFP_KERNEL)?)
    }

    /// Renames the directory ([`kobject_rename`](srctree/include/linux/kobject.h)). Open files
    /// below it stay open.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an invalid name, `EEXIST` when the name is taken, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// No other call for the same directory runs at the same time.
    pub(super) unsafe fn rename(&self, name: &CStr) -> Result {
        super::check_name(name)?;

        // SAFETY: The kobject is in sysfs by the type invariants, and callers are serialised;
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
        // wait for the release of the object, which may be delayed.
        unsafe {
            bindings::kobject_del(kobj);
            bindings::kobject_put(kobj);
        }
    }
}

/// Keeps a directory of sysfs registered, so that objects can be created below it.
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

    pub(super) fn dir(dir: &Arc<KobjectDir>) -> Self {
        // INVARIANT: By the type invariants of `KobjectDir`.
        Self(ParentKind::KobjectDir(dir.clone()))
    }

    /// Whether this directory has an entry called `name`.
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

// SAFETY: Each kind of parent keeps its kobject allocated.
unsafe impl Kobject for SysfsParent {
    fn as_kobj(&self) -> *mut bindings::kobject {
        match &self.0 {
            ParentKind::Device(device) => device.as_kobj(),
            ParentKind::KobjectDir(dir) => dir.as_kobj(),
            ParentKind::Foreign(kobj) => kobj.as_kobj(),
        }
    }
}

/// A directory of sysfs below which directories and links can be created.
pub trait AsSysfsParent {
    /// Returns a handle that keeps the directory registered.
    fn parent(&self) -> SysfsParent;
}

impl AsSysfsParent for SysfsParent {
    fn parent(&self) -> SysfsParent {
        self.clone()
    }
}
