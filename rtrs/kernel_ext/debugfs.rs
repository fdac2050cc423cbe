// SPDX-License-Identifier: GPL-2.0-only

//! Directories and files in debugfs.
//!
//! Files of the `kernel` crate do not hold the module whose code they call: closing one after
//! the module was unloaded would call code that is gone. Here an open file holds the module,
//! and the object that the file shows may be dropped before.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::latency::Latency;

/// A directory at the top of debugfs, removed after the last of its files.
#[derive(Clone)]
pub struct DebugfsDir(#[cfg_attr(not(CONFIG_DEBUG_FS), expect(dead_code))] Arc<imp::Entry>);

impl DebugfsDir {
    /// Creates a directory ([`debugfs_create_dir`](srctree/include/linux/debugfs.h)). Does
    /// nothing in a kernel without debugfs.
    pub fn new(name: &CStr) -> Result<Self> {
        Ok(Self(Arc::new(imp::Entry::dir(name), GFP_KERNEL)?))
    }
}

/// The file of a [`Latency`]. The drop waits for reads and writes that run, not for open
/// files.
pub struct LatencyFile {
    // In the order of destruction.
    _entry: imp::Entry,
    _dir: DebugfsDir,
    _latency: Arc<Latency>,
}

impl LatencyFile {
    /// Shows `latency` as `name` in `dir`. Does nothing in a kernel without debugfs.
    pub fn new(dir: &DebugfsDir, name: &CStr, latency: &Arc<Latency>) -> Self {
        Self {
            // SAFETY: `latency` is dropped after the file, and the directory, too.
            _entry: unsafe { imp::Entry::file(&dir.0, name, latency) },
            _dir: dir.clone(),
            _latency: latency.clone(),
        }
    }
}

#[cfg(CONFIG_DEBUG_FS)]
mod imp {
    use super::Latency;
    use crate::bindings;
    use core::ptr::NonNull;
    use kernel::error::from_err_ptr;
    use kernel::fmt;
    use kernel::prelude::*;
    use kernel::seq_file::SeqFile;
    use kernel::seq_print;
    use kernel::uaccess::UserPtr;
    use kernel::uaccess::UserSlice;
    use kernel::ModuleMetadata;

    /// A directory or a file; `None` if it could not be created, which is not an error.
    pub(super) struct Entry(Option<NonNull<bindings::dentry>>);

    // SAFETY: Entries have no thread affinity.
    unsafe impl Send for Entry {}
    // SAFETY: debugfs serialises what is done with the entry.
    unsafe impl Sync for Entry {}

    impl Entry {
        pub(super) fn dir(name: &CStr) -> Self {
            // SAFETY: The name is copied; no parent means the top.
            let entry =
                unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), core::ptr::null_mut()) };
            Self(from_err_ptr(entry).ok().and_then(NonNull::new))
        }

        /// # Safety
        ///
        /// `dir` and `latency` must outlive the entry.
        pub(super) unsafe fn file(dir: &Self, name: &CStr, latency: &Latency) -> Self {
            let Some(dir) = dir.0 else {
                return Self(None);
            };
            // SAFETY: The directory exists, and the name is copied. The operations suit
            // what the file is made with, which outlives it as the caller promises.
            let entry = unsafe {
                bindings::debugfs_create_file_full(
                    name.as_char_ptr(),
                    0o600,
                    dir.as_ptr(),
                    core::ptr::from_ref(latency).cast_mut().cast(),
                    core::ptr::null(),
                    &raw const OPERATIONS.0,
                )
            };
            Self(from_err_ptr(entry).ok().and_then(NonNull::new))
        }
    }

    impl Drop for Entry {
        fn drop(&mut self) {
            if let Some(entry) = self.0 {
                // SAFETY: Made by us and removed once. A directory is empty by now, as
                // each file holds its own. Waits for calls that are under way; after it
                // debugfs makes none but `release`.
                unsafe { bindings::debugfs_remove(entry.as_ptr()) };
            }
        }
    }

    struct Operations(bindings::file_operations);

    // SAFETY: It is never written.
    unsafe impl Sync for Operations {}

    static OPERATIONS: Operations = Operations(bindings::file_operations {
        owner: <crate::LocalModule as ModuleMetadata>::THIS_MODULE.as_ptr(),
        open: Some(open),
        read: Some(bindings::seq_read),
        write: Some(write),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    });

    /// # Safety
    ///
    /// Called by debugfs for a file made by [`Entry::file`].
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: Both are valid, and the file is just being opened.
        unsafe { bindings::single_open(file, Some(show), (*inode).i_private) }
    }

    /// # Safety
    ///
    /// Called by `seq_read` for a file opened by [`open`].
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: debugfs allows no reads after the file was removed, and the `Latency`
        // outlives it. Only this call has the sequence.
        let (latency, seq) =
            unsafe { (&*(*seq).private.cast::<Latency>(), SeqFile::from_raw(seq)) };
        seq_print!(seq, "{}", Shown(latency));
        0
    }

    /// # Safety
    ///
    /// Called by debugfs for a file opened by [`open`], with a buffer of the caller.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const c_char,
        count: usize,
        _offset: *mut bindings::loff_t,
    ) -> isize {
        // SAFETY: `single_open` put the sequence there; for the rest see `show`.
        let latency = unsafe {
            let seq = (*file).private_data.cast::<bindings::seq_file>();
            &*(*seq).private.cast::<Latency>()
        };
        let user = UserPtr::from_ptr(buf.cast_mut().cast());
        match latency.read(&mut UserSlice::new(user, count).reader()) {
            // CAST: The kernel transfers less than 2 GiB at once.
            Ok(()) => count as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    struct Shown<'a>(&'a Latency);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.show(f)
        }
    }
}

#[cfg(not(CONFIG_DEBUG_FS))]
mod imp {
    use super::Latency;
    use kernel::prelude::*;

    pub(super) struct Entry;

    impl Entry {
        pub(super) fn dir(_name: &CStr) -> Self {
            Self
        }

        /// # Safety
        ///
        /// None.
        pub(super) unsafe fn file(_dir: &Self, _name: &CStr, _latency: &Latency) -> Self {
            Self
        }
    }
}
