// SPDX-License-Identifier: GPL-2.0-only

//! Finding a block device by its path, inside of a directory.
//!
//! A symbolic link that leaves the directory is followed if only root can have made it, see
//! [`Location::is_roots_own`].
//!
//! C header: [`include/linux/namei.h`](srctree/include/linux/namei.h)

use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*,
    str::CString,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::NotThreadSafe, //
};

use rtrs::bindings;

use super::DevId;

/// How often a walk is retried after a concurrent change of the file system: if the path
/// has a `..`, any rename or mount makes it fail (`handle_dots` in `fs/namei.c`).
const RETRIES: usize = 100;

/// Makes the current task look up paths as init does, until drop.
///
/// The root directory of kernel threads is an empty file system.
pub(super) struct InitFs {
    old: *mut bindings::fs_struct,
    /// Drop must run in the task of `enter`.
    _task: NotThreadSafe,
}

impl InitFs {
    pub(super) fn enter() -> Self {
        Self {
            // SAFETY: Changes only the current task, and drop undoes it.
            old: unsafe { bindings::__override_init_fs() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for InitFs {
    fn drop(&mut self) {
        // SAFETY: The task is the one of `enter`, as this cannot be sent to another.
        unsafe { bindings::__revert_init_fs(self.old) };
    }
}

/// A path that was looked up, `struct path` of C.
///
/// # Invariants
///
/// Owns the references to mount and entry in `path`.
struct Path(bindings::path);

impl Path {
    /// Looks up `path` from the root directory of the task.
    fn lookup(path: &CStr, flags: u32) -> Result<Self> {
        let mut found = MaybeUninit::<bindings::path>::uninit();

        // SAFETY: `path` is a C string, and there is room for the result.
        to_result(unsafe { bindings::kern_path(path.as_char_ptr(), flags, found.as_mut_ptr()) })?;
        // SAFETY: Filled in on success.
        // INVARIANT: The references are handed to the caller.
        Ok(Self(unsafe { found.assume_init() }))
    }

    /// Looks up `path` from this directory.
    fn lookup_below(&self, path: &CStr, flags: u32) -> Result<Self> {
        let mut found = MaybeUninit::<bindings::path>::uninit();

        // SAFETY: Mount and entry are valid by the type invariant, `path` is a C string,
        // and there is room for the result.
        to_result(unsafe {
            bindings::vfs_path_lookup(
                self.0.dentry,
                self.0.mnt,
                path.as_char_ptr(),
                flags,
                found.as_mut_ptr(),
            )
        })?;
        // SAFETY: Filled in on success.
        // INVARIANT: The references are handed to the caller.
        Ok(Self(unsafe { found.assume_init() }))
    }

    /// Returns the number of the block device if this is the node of one.
    fn device(&self) -> Option<DevId> {
        // SAFETY: A path that was looked up has an inode, which the reference keeps.
        let inode = NonNull::new(unsafe { (*self.0.dentry).d_inode })?;
        // SAFETY: As above; the type and the number are set when the inode is made.
        let (mode, number) = unsafe { ((*inode.as_ptr()).i_mode, (*inode.as_ptr()).i_rdev) };

        (u32::from(mode) & bindings::S_IFMT == bindings::S_IFBLK).then_some(DevId(number))
    }
}

impl Path {
    /// Returns the name of the last component, of a directory in sysfs.
    fn name(&self) -> Result<CString> {
        // SAFETY: The reference keeps the entry. Its name is a C string, and only a rename would
        // replace it: the directories of disks and partitions are never renamed.
        let name =
            unsafe { CStr::from_char_ptr((*self.0.dentry).__bindgen_anon_1.d_name.name.cast()) };

        Ok(CString::try_from(name)?)
    }

    /// Whether only root can create, rename and remove entries of this directory: it belongs
    /// to root, and others cannot write to it. Access control lists cannot allow more than the
    /// bits of the group do.
    fn is_roots_own(&self) -> bool {
        // SAFETY: A path that was looked up has an inode, which the reference keeps.
        let Some(inode) = NonNull::new(unsafe { (*self.0.dentry).d_inode }) else {
            return false;
        };
        // SAFETY: As above. Both are integers that a concurrent chown or chmod may change.
        let (owner, mode) = unsafe {
            (
                (&raw const (*inode.as_ptr()).i_uid.val).read_volatile(),
                (&raw const (*inode.as_ptr()).i_mode).read_volatile(),
            )
        };
        owner == 0 && u32::from(mode) & (bindings::S_IWGRP | bindings::S_IWOTH) == 0
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // SAFETY: Gives back the references owned by the type invariant.
        unsafe { bindings::path_put(&self.0) };
    }
}

/// The path of a device, and the directory it must stay in.
#[derive(Clone, Copy)]
pub(crate) enum Location<'a> {
    /// Anywhere.
    Anywhere {
        /// The path of the device.
        path: &'a CStr,
    },
    /// Inside a directory, after symbolic links are followed.
    Inside {
        /// The directory.
        dir: &'a CStr,
        /// The path relative to the directory.
        below: &'a CStr,
        /// The whole path.
        path: &'a CStr,
    },
}

impl Location<'_> {
    pub(super) fn path(&self) -> &CStr {
        match self {
            Self::Anywhere { path } | Self::Inside { path, .. } => path,
        }
    }

    /// Looks up the device without opening it, so that its driver does not notice.
    ///
    /// # Errors
    ///
    /// - `ENOENT` if nothing exists by that name, `ENOTBLK` if it is no block device;
    /// - `EXDEV` if symbolic links that not only root can make lead out of the directory.
    pub(crate) fn find(&self) -> Result<DevId> {
        let _fs = InitFs::enter();

        match self.find_inside()? {
            Some(id) => Ok(id),
            None => Path::lookup(self.path(), bindings::LOOKUP_FOLLOW)?
                .device()
                .ok_or(ENOTBLK),
        }
    }

    /// Looks up the device by a walk that may not leave the directory; `None` if it may.
    pub(super) fn find_inside(&self) -> Result<Option<DevId>> {
        let Self::Inside { dir, below, path } = self else {
            return Ok(None);
        };
        if Self::is_roots_own(path)? {
            return Ok(None);
        }
        let dir = Path::lookup(dir, bindings::LOOKUP_FOLLOW | bindings::LOOKUP_DIRECTORY)?;
        let flags = bindings::LOOKUP_FOLLOW | bindings::LOOKUP_BENEATH;

        for _ in 0..RETRIES {
            match dir.lookup_below(below, flags) {
                Err(EAGAIN) => fsleep(Delta::from_millis(1)),
                found => return found?.device().map(Some).ok_or(ENOTBLK),
            }
        }
        Err(EAGAIN)
    }

    /// Whether each component of `path` is in a directory that only root can change, links
    /// followed. A link among them was then made by root, who meant it; no other user can put
    /// another one in its place between this look and the next walk.
    fn is_roots_own(path: &CStr) -> Result<bool> {
        let mut dir = KVec::with_capacity(path.count_bytes(), GFP_KERNEL)?;
        for component in path.to_bytes().split_inclusive(|byte| *byte == b'/') {
            if component.last() != Some(&b'/') {
                // The node itself.
                break;
            }
            dir.extend_from_slice(component, GFP_KERNEL)?;
            dir.push(0, GFP_KERNEL)?;
            let name = CStr::from_bytes_with_nul(&dir).map_err(|_| EINVAL)?;
            let flags = bindings::LOOKUP_FOLLOW | bindings::LOOKUP_DIRECTORY;
            if !Path::lookup(name, flags)?.is_roots_own() {
                return Ok(false);
            }
            dir.pop();
        }
        Ok(true)
    }
}

/// Returns the kernel's name of a device that need not be open; `None` if there is no such
/// device, or no sysfs at its usual place.
pub(crate) fn name_of(id: DevId) -> Result<Option<CString>> {
    let _fs = InitFs::enter();
    let link = CString::try_from_fmt(fmt!("/sys/dev/block/{}:{}", id.major(), id.minor()))?;

    match Path::lookup(&link, bindings::LOOKUP_FOLLOW) {
        Ok(directory) => directory.name().map(Some),
        Err(error) if error == ENOENT || error == ENOTDIR => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the block device that `path` leads to, if any.
///
/// # Errors
///
/// Errors of the look-up, except that the path does not exist.
pub(crate) fn find(path: &CStr) -> Result<Option<DevId>> {
    let _fs = InitFs::enter();

    match Path::lookup(path, bindings::LOOKUP_FOLLOW) {
        Ok(found) => Ok(found.device()),
        Err(error) if error == ENOENT || error == ENOTDIR => Ok(None),
        Err(error) => Err(error),
    }
}
