// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows of a path:
//! `/sys/class/rtrs-server/<session>/paths/<client>@<server>/`.
//!
//! Both sides name a path as the client does, so `src` is the client here,
//! unlike everywhere else in the server.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-server`.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;

use super::path::Path;
use crate::kernel_ext::kobject::SysfsParent;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::sysfs::expect_one;
use crate::kernel_ext::sysfs::Buf;
use crate::kernel_ext::sysfs::StoreCtx;
use crate::kernel_ext::sysfs::SysfsDir;
use crate::sysfs_files;

sysfs_files! {
    static PATH_FILES: Files<PathFiles> = [
        c"hca_name" => show(PathFiles::show_hca_name);
        c"hca_port" => show(PathFiles::show_hca_port);
        c"src_addr" => show(PathFiles::show_src_addr);
        c"dst_addr" => show(PathFiles::show_dst_addr);
        c"disconnect" => show(PathFiles::show_disconnect) store(PathFiles::disconnect);
    ];

    static STATS_FILES: Files<PathFiles> = [
        c"rdma" => show(PathFiles::show_rdma) store(PathFiles::reset_rdma);
        c"reset_all" => show(PathFiles::show_reset_all) store(PathFiles::reset_all);
    ];
}

/// The directory of a path. Dropping it waits for callbacks that run.
pub(super) struct PathDir {
    // Dropped in this order.
    _stats: SysfsDir,
    _dir: SysfsDir,
}

impl PathDir {
    /// Shows `path` in `paths`. The reference to it that the files hold is a
    /// cycle, which the teardown of the path ends.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when it has lost its connections already, `ENOMEM`, and
    /// `EEXIST` when there is one between the same addresses.
    pub(super) fn new(path: &Arc<Path>, paths: &SysfsParent) -> Result<Self> {
        let files = PathFiles {
            path: path.clone(),
            port: path.port().ok_or(ENOTCONN)?,
        };
        let files = Arc::new(files, GFP_KERNEL)?;
        let ends = path.ends();
        let name = CString::try_from_fmt(fmt!("{}@{}", ends.dst, ends.src))?;
        let dir = SysfsDir::new(paths, &name, files.clone(), &PATH_FILES)?;
        Ok(Self {
            _stats: SysfsDir::new(&dir, c"stats", files, &STATS_FILES)?,
            _dir: dir,
        })
    }
}

/// What the files speak of.
struct PathFiles {
    path: Arc<Path>,
    /// Of the device.
    port: u32,
}

impl PathFiles {
    fn show_hca_name(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(this.path.pd.device_name().to_bytes())?;
        buf.push(b"\n")
    }

    fn show_hca_port(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.print(fmt!("{}\n", this.port))
    }

    fn show_src_addr(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.print(fmt!("{}\n", this.path.ends().dst))
    }

    fn show_dst_addr(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.print(fmt!("{}\n", this.path.ends().src))
    }

    fn show_disconnect(_this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(b"Usage: echo 1 > disconnect\n")
    }

    /// Closes the path. Does not wait for it, as the teardown removes the very
    /// file that this runs for.
    fn disconnect(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "disconnect")?;
        this.path.close("disconnected by the administrator");
        Ok(())
    }

    fn show_rdma(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.print(fmt!("{}", Plain(this.path.stats.rdma())))
    }

    fn reset_rdma(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "rdma")?;
        this.path.stats.reset();
        Ok(())
    }

    fn show_reset_all(_this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(b"echo 1 to reset all statistics\n")
    }

    fn reset_all(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "reset_all")?;
        this.path.stats.reset();
        Ok(())
    }
}
