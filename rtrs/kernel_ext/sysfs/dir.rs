// SPDX-License-Identifier: GPL-2.0-only

//! Owners of directories, files of a device, and links in sysfs.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::{
    bindings,
    kernel_ext::{
        class::ClassDevice,
        kobject::{
            AsSysfsParent,
            Kobject,
            KobjectDir,
            SysfsParent, //
        }, //
    }, //
};

use super::{
    set::{
        AttributeKind,
        FileSet, //
    },
    Files, //
};

/// Files that exist until drop.
///
/// # Invariants
///
/// The first `created` files of `set` are in the kobject of `parent`.
struct Created {
    set: Arc<FileSet>,
    parent: SysfsParent,
    created: usize,
}

impl Created {
    /// Creates the files. If that fails, those that were created are there until the drop: removal
    /// waits for callbacks, which the caller may not be able to.
    ///
    /// # Safety
    ///
    /// The kobject of `parent` is that of a device exactly if `set` is of
    /// [`AttributeKind::Device`].
    unsafe fn new(set: Arc<FileSet>, parent: SysfsParent) -> (Self, Result) {
        let mut this = Self {
            set,
            parent,
            created: 0,
        };
        let result = match NonNull::new(this.parent.as_kobj()) {
            // INVARIANT: Counted by the call.
            //
            // SAFETY: `parent` keeps the kobject in sysfs until it is dropped with
            // the object made here, whose drop removes the files first.
            Some(kobj) => unsafe { this.set.create(kobj, &mut this.created) },
            None => Err(EINVAL),
        };
        (this, result)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(kobj) = NonNull::new(self.parent.as_kobj()) {
            // SAFETY: The files are there by the type invariants.
            unsafe { self.set.remove(kobj, self.created) };
        }
    }
}

/// An owned directory, with or without files.
///
/// Drop removes the files and waits for their callbacks. The directory itself
/// is removed once nothing created below it is left.
pub struct SysfsDir {
    // Dropped in this order.
    files: Option<Created>,
    dir: Arc<KobjectDir>,
}

impl SysfsDir {
    /// Creates the directory `name` with `files`, which show `data`.
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
        let mut this = Self::bare(parent, name)?;
        this.add_files(data, files)?;
        Ok(this)
    }

    /// Creates the directory `name` without files.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn bare(parent: &impl AsSysfsParent, name: &CStr) -> Result<Self> {
        let dir = KobjectDir::new(parent.parent(), name)?;
        Ok(Self { files: None, dir })
    }

    /// Creates `files`, which show `data`, in a directory without files.
    ///
    /// If that fails, some of them may be there until the drop, which waits for their callbacks: a
    /// caller that holds a lock that a callback takes must not drop the directory before it has
    /// released the lock.
    ///
    /// # Errors
    ///
    /// `EEXIST` when there is an entry of one of the names, or the directory has files, `ENOMEM`.
    pub(crate) fn add_files<T: Send + Sync>(
        &mut self,
        data: Arc<T>,
        files: &'static Files<T>,
    ) -> Result {
        if self.files.is_some() {
            return Err(EEXIST);
        }
        let set = FileSet::new(AttributeKind::Plain, data, files)?;
        // SAFETY: The kobject is that of a plain directory, and the set is for one.
        let (files, result) = unsafe { Created::new(set, SysfsParent::dir(&self.dir)) };
        self.files = Some(files);
        result
    }

    /// Renames the directory; its files, also open ones, stay as they are.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn rename(&mut self, name: &CStr) -> Result {
        // SAFETY: Only this function renames the directory, and `self` is exclusive.
        unsafe { self.dir.rename(name) }
    }
}

impl AsSysfsParent for SysfsDir {
    fn parent(&self) -> SysfsParent {
        SysfsParent::dir(&self.dir)
    }
}

// SAFETY: The directory keeps its kobject allocated.
unsafe impl Kobject for SysfsDir {
    fn as_kobj(&self) -> *mut bindings::kobject {
        self.dir.as_kobj()
    }
}

/// Owned files directly in a class device.
///
/// Drop removes them and waits for their callbacks.
pub struct Attrs {
    _files: Created,
}

impl Attrs {
    /// Creates `files`, which show `data`, in `device`.
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
        // SAFETY: `attach` passes the directory of a device and a set for devices.
        let (files, result) = unsafe { Created::new(set, device) };
        result.map(|()| Self { _files: files })
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
    /// The link does not keep its target registered; it dangles once that is removed.
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
