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
    pub(super) fn show(&mut self, path: &Arc<Path>) -> Result {
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
            return Ok(());
        }
        self.paths.reserve(1, GFP_KERNEL)?;
        let dir = SysfsDir::new(&self.paths_dir, &name, path.clone(), &PATH_FILES)?;
        let stats = SysfsDir::new(&dir, c"stats", path.stats().clone(), &STATS_FILES)?;
        let path_dir = PathDir {
            path: path.clone(),
            name,
            _stats: stats,
            dir,
        };
        Ok(self.paths.push(path_dir, GFP_KERNEL)?)
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
