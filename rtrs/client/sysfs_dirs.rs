// SPDX-License-Identifier: GPL-2.0-only

//! The directories of a session and its paths in sysfs:
//! `/sys/class/rtrs-client/<session>/paths/<src@dst>/`.

use kernel::{
    fmt,
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::kernel_ext::{
    class::ClassDevice,
    sysfs::{
        Attrs,
        SysfsDir, //
    }, //
};

use super::{
    path::Path,
    path_sysfs::{
        PATH_FILES,
        STATS_FILES, //
    }, //
};

/// The directory of a session. Fields are dropped in this order.
pub(super) struct SessionDir {
    paths: KVec<PathDir>,
    paths_dir: SysfsDir,
    _attrs: Attrs,
}

/// The directory of a path.
pub(super) struct PathDir {
    path: Arc<Path>,
    name: CString,
    _stats: SysfsDir,
    dir: SysfsDir,
}

impl SessionDir {
    /// Creates the directory of paths in that of a session, whose files are `attrs`.
    pub(super) fn new(device: &ClassDevice, attrs: Attrs) -> Result<Self> {
        Ok(Self {
            paths: KVec::new(),
            paths_dir: SysfsDir::bare(device, c"paths")?,
            _attrs: attrs,
        })
    }

    /// Creates the directory of a path, or renames it if an address has become known.
    ///
    /// With an error it may return a directory to be dropped without a lock.
    pub(super) fn show(
        &mut self,
        path: &Arc<Path>,
    ) -> core::result::Result<(), (Error, Option<PathDir>)> {
        let path_dir = match self.prepare(path) {
            Ok(Some(path_dir)) => path_dir,
            Ok(None) => return Ok(()),
            Err(e) => return Err((e, None)),
        };
        // Last, as callbacks of these files, unlike those before, wait for locks.
        let added = path_dir.dir.add_files(path.clone(), &PATH_FILES);
        added.map_err(|e| (e, self.hide(path)))
    }

    /// Renames the directory of a path, or creates it, without the files of the path.
    fn prepare(&mut self, path: &Arc<Path>) -> Result<Option<&mut PathDir>> {
        let name = CString::try_from_fmt(fmt!("{}", PathAddrs(path)))?;
        let shown = self
            .paths
            .iter_mut()
            .find(|shown| Arc::ptr_eq(&shown.path, path));
        if let Some(shown) = shown {
            if *shown.name != *name {
                shown.dir.rename(&name)?;
                shown.name = name;
            }
            return Ok(None);
        }
        self.paths.reserve(1, GFP_KERNEL)?;
        let dir = SysfsDir::bare(&self.paths_dir, &name)?;
        let stats = SysfsDir::new(&dir, c"stats", path.stats().clone(), &STATS_FILES)?;
        let path_dir = PathDir {
            path: path.clone(),
            name,
            _stats: stats,
            dir,
        };
        self.paths.push(path_dir, GFP_KERNEL)?;
        Ok(self.paths.last_mut())
    }

    /// Takes out the directory of a path, to be dropped without a lock.
    pub(super) fn hide(&mut self, path: &Arc<Path>) -> Option<PathDir> {
        let shown = |path_dir: &PathDir| Arc::ptr_eq(&path_dir.path, path);
        let index = self.paths.iter().position(shown)?;
        self.paths.remove(index).ok()
    }
}

/// Name of the directory of a path.
struct PathAddrs<'a>(&'a Path);

impl fmt::Display for PathAddrs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_addrs(f)
    }
}
