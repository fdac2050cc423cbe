// SPDX-License-Identifier: GPL-2.0-only

//! Files of a path: `/sys/class/rtrs-server/<session>/paths/<client>@<server>/`.
//!
//! Both sides name a path as the client does, so `src` is the client here, unlike in the rest of
//! the server.

use kernel::{
    prelude::*,
    str::CString,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    kernel_ext::{
        kobject::SysfsParent,
        log::Plain,
        sysfs::{
            expect_one,
            Buf,
            StoreCtx,
            SysfsDir, //
        }, //
    },
    server::path::{
        Path,
        PathDirs, //
    },
    sysfs_files, //
};

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

/// Shows `path` below `parent`. The files hold a reference to the path; the teardown of the path
/// ends that cycle. Dropping the directories waits for callbacks that run.
///
/// # Errors
///
/// `ENOTCONN` when the path has lost its connections, `ENOMEM`, and `EEXIST` when there is one
/// between the same addresses.
pub(in crate::server) fn show(path: &Arc<Path>, parent: &SysfsParent) -> Result<PathDirs> {
    let files = PathFiles {
        path: path.clone(),
        port: path.links().port().ok_or(ENOTCONN)?,
    };
    let files = Arc::new(files, GFP_KERNEL)?;
    let ends = path.ends();
    let name = CString::try_from_fmt(fmt!("{}@{}", ends.dst, ends.src))?;
    let dir = SysfsDir::new(parent, &name, files.clone(), &PATH_FILES)?;
    let stats = SysfsDir::new(&dir, c"stats", files, &STATS_FILES)?;
    Ok([stats, dir])
}

/// The path that the files show.
struct PathFiles {
    path: Arc<Path>,
    /// Port of the device.
    port: u32,
}

impl PathFiles {
    fn show_hca_name(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(this.path.pd().device_name().to_bytes())?;
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

    /// Closes the path. Does not wait for that, as the teardown removes the file whose callback
    /// this is.
    fn disconnect(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "disconnect")?;
        this.path.close("disconnected by the administrator");
        Ok(())
    }

    fn show_rdma(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.print(fmt!("{}", Plain(this.path.data().stats().rdma())))
    }

    fn reset_rdma(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "rdma")?;
        this.path.data().stats().reset();
        Ok(())
    }

    fn show_reset_all(_this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(b"echo 1 to reset all statistics\n")
    }

    fn reset_all(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        expect_one(input, &*this.path, "reset_all")?;
        this.path.data().stats().reset();
        Ok(())
    }
}
