// SPDX-License-Identifier: GPL-2.0-only

//! What owns a place in sysfs: directories, files of a device, links.

use core::ptr::NonNull;

use kernel::error::to_result;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;

use super::set::AttributeKind;
use super::set::FileSet;
use super::Files;
use crate::bindings;
use crate::kernel_ext::class::ClassDevice;
use crate::kernel_ext::kobject::AsSysfsParent;
use crate::kernel_ext::kobject::Kobject;
use crate::kernel_ext::kobject::KobjectDir;
use crate::kernel_ext::kobject::SysfsParent;

/// Files that exist until drop.
///
/// # Invariants
///
/// The files of `set` are in the kobject of `place`.
struct Created {
    set: Arc<FileSet>,
    place: SysfsParent,
}

impl Created {
    /// # Safety
    ///
    /// The kobject of `place` is that of a device exactly if `set` is of
    /// [`AttributeKind::Device`].
    unsafe fn new(set: Arc<FileSet>, place: SysfsParent) -> Result<Self> {
        let kobj = NonNull::new(place.as_kobj()).ok_or(EINVAL)?;

        // SAFETY: `place` keeps the kobject in sysfs until it is dropped with
        // the object made here, whose drop removes the files first.
        unsafe { set.create(kobj)? };

        // INVARIANT: Created above.
        Ok(Self { set, place })
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(kobj) = NonNull::new(self.place.as_kobj()) {
            // SAFETY: The files are there by the type invariants.
            unsafe { self.set.remove(kobj) };
        }
    }
}

/// An owned directory, with or without files.
///
/// Drop removes the files and waits for their callbacks. The directory itself
/// goes once nothing made below it is left.
pub struct SysfsDir {
    // Dropped in this order.
    _files: Option<Created>,
    folder: Arc<KobjectDir>,
}

impl SysfsDir {
    /// Creates the directory `name` with `files`, which speak of `data`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name that is empty or holds a `/`, `EEXIST` when it is
    /// taken, `ENOMEM`.
    pub fn new<T: Send + Sync>(
        parent: &impl AsSysfsParent,
        name: &CStr,
        data: Arc<T>,
        files: &'static Files<T>,
    ) -> Result<Self> {
        let set = FileSet::new(AttributeKind::Plain, data, files)?;
        Self::with(parent.parent(), name, Some(set))
    }

    /// Creates the directory `name` without files.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn bare(parent: &impl AsSysfsParent, name: &CStr) -> Result<Self> {
        Self::with(parent.parent(), name, None)
    }

    /// Gives the directory another name; its files stay as they are, open ones too.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn rename(&mut self, name: &CStr) -> Result {
        // SAFETY: Nobody but a directory renames its folder, and this one is exclusive.
        unsafe { self.folder.rename(name) }
    }

    fn with(parent: SysfsParent, name: &CStr, set: Option<Arc<FileSet>>) -> Result<Self> {
        let folder = KobjectDir::new(parent, name)?;
        let files = match set {
            // SAFETY: A folder is a plain kobject, and so is the set (`new`).
            Some(set) => Some(unsafe { Created::new(set, SysfsParent::folder(&folder))? }),
            None => None,
        };

        Ok(Self {
            _files: files,
            folder,
        })
    }
}

impl AsSysfsParent for SysfsDir {
    fn parent(&self) -> SysfsParent {
        SysfsParent::folder(&self.folder)
    }
}

// SAFETY: The folder keeps its kobject.
unsafe impl Kobject for SysfsDir {
    fn as_kobj(&self) -> *mut bindings::kobject {
        self.folder.as_kobj()
    }
}

/// Owned files directly in a class device.
///
/// Drop removes them and waits for their callbacks.
pub struct Attrs {
    _files: Created,
}

impl Attrs {
    /// Creates `files`, which speak of `data`, in `device`.
    ///
    /// # Errors
    ///
    /// `EEXIST` when the device has a file of one of the names, `ENOMEM`.
    pub fn attach<T: Send + Sync>(
        device: &ClassDevice,
        data: Arc<T>,
        files: &'static Files<T>,
    ) -> Result<Self> {
        let set = FileSet::new(AttributeKind::Device, data, files)?;

        Self::with(device.parent(), set)
    }

    fn with(device: SysfsParent, set: Arc<FileSet>) -> Result<Self> {
        // SAFETY: `attach` passes the place of a device and a set for devices.
        let files = unsafe { Created::new(set, device)? };
        Ok(Self { _files: files })
    }
}

/// An owned symbolic link.
///
/// # Invariants
///
/// A link of that name is in the directory.
pub struct Link {
    dir: SysfsParent,
    name: CString,
}

impl Link {
    /// Creates the link `name` in `dir`, which leads to `target`.
    ///
    /// The link does not keep its target registered; it dangles when that goes.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a name that is empty or holds a `/`, `EEXIST` when it is
    /// taken, `ENOENT` when the target is not in sysfs, `ENOMEM`.
    pub fn new(dir: &impl AsSysfsParent, name: &CStr, target: &impl Kobject) -> Result<Self> {
        // SAFETY: The implementor of `Kobject` keeps the target allocated.
        unsafe { Self::with(dir.parent(), name, target.as_kobj()) }
    }

    /// # Safety
    ///
    /// `target` is a valid kobject.
    unsafe fn with(dir: SysfsParent, name: &CStr, target: *mut bindings::kobject) -> Result<Self> {
        crate::kernel_ext::check_name(name)?;
        let name = CString::try_from(name)?;

        // SAFETY: The directory is in sysfs, and the target valid. sysfs copies the name.
        to_result(unsafe {
            bindings::sysfs_create_link_nowarn(dir.as_kobj(), target, name.as_char_ptr())
        })?;

        // INVARIANT: Created above.
        Ok(Self { dir, name })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: `dir` keeps the directory in sysfs; the link is in it.
        unsafe { bindings::sysfs_remove_link(self.dir.as_kobj(), self.name.as_char_ptr()) };
    }
}
