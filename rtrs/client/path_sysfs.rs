// SPDX-License-Identifier: GPL-2.0-only

//! Files of a path in sysfs.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-client`.

use core::fmt::Write as _;

use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc,
        ArcBorrow, //
    }, //
};

use rnbd_proto::stats::CurLatency;

use crate::{
    kernel_ext::{
        net::SockAddr,
        sysfs::{
            expect_one,
            Buf,
            StoreCtx, //
        }, //
    },
    sysfs_files, //
};

use super::{
    endpoints::Endpoints,
    path::Path,
    stats::Stats, //
};

sysfs_files! {
    pub(super) static PATH_FILES: Files<Path> = [
        c"hca_name" => show(|path, buf| with_endpoints(path, |endpoints| {
            buf.push(endpoints.device())?;
            buf.push(b"\n")
        }));
        c"hca_port" => show(|path, buf| with_endpoints(path, |endpoints| Ok(writeln!(buf, "{}", endpoints.port)?)));
        c"src_addr" => show(|path, buf| show_addr(path.src().ok_or(ENOTCONN)?, buf));
        c"dst_addr" => show(|path, buf| show_addr(path.dst(), buf));
        c"state" => show(|path, buf| Ok(writeln!(buf, "{}", path.state().as_str())?));
        c"reconnect" => show(|_, buf| buf.push(b"Usage: echo 1 > reconnect\n")) store(reconnect);
        c"disconnect" => show(|_, buf| buf.push(b"Usage: echo 1 > disconnect\n")) store(disconnect);
        c"remove_path" =>
            show(|_, buf| buf.push(b"Usage: echo 1 > remove_path\n")) store(remove_path);
        c"cur_latency" => show(show_latency);
    ];
}

type StatsRef<'a> = ArcBorrow<'a, Stats>;

sysfs_files! {
    pub(super) static STATS_FILES: Files<Stats> = [
        c"cpu_migration_from" => show(|stats: StatsRef<'_>, buf| Ok(stats.print_migrated_from(buf)?))
            store(|stats: StatsRef<'_>, input, _| reset(input, "cpu_migration_from", || stats.reset_migrations()));
        c"cpu_migration_to" => show(|stats: StatsRef<'_>, buf| Ok(stats.print_migrated_to(buf)?))
            store(|stats: StatsRef<'_>, input, _| reset(input, "cpu_migration_to", || stats.reset_migrations()));
        c"reconnects" => show(|stats: StatsRef<'_>, buf| Ok(stats.print_reconnects(buf)?))
            store(|stats: StatsRef<'_>, input, _| reset(input, "reconnects", || stats.reset_reconnects()));
        c"rdma" => show(|stats: StatsRef<'_>, buf| Ok(stats.print_rdma(buf)?))
            store(|stats: StatsRef<'_>, input, _| reset(input, "rdma", || stats.reset_rdma()));
        c"polled" => show(|stats: StatsRef<'_>, buf| Ok(stats.print_polled(buf)?))
            store(|stats: StatsRef<'_>, input, _| reset(input, "polled", || stats.reset_polled()));
        c"reset_all" => show(|_, buf| buf.push(b"echo 1 to reset all statistics\n"))
            store(|stats: StatsRef<'_>, input, _| reset(input, "reset_all", || {
                stats.reset_migrations();
                stats.reset_reconnects();
                stats.reset_rdma();
                stats.reset_polled();
            }));
    ];
}

fn with_endpoints(path: ArcBorrow<'_, Path>, f: impl FnOnce(&Endpoints) -> Result) -> Result {
    f(&path.endpoints().ok_or(ENOTCONN)?)
}

fn show_addr(addr: SockAddr, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(buf, "{addr}")?)
}

fn show_latency(path: ArcBorrow<'_, Path>, buf: &mut Buf<'_>) -> Result {
    let section = rcu::read_lock();
    let link = path.link(&section);
    let latency = link.map_or(0, |link| link.state().heartbeat().latency_ns());
    Ok(write!(buf, "{}", CurLatency(latency))?)
}

fn reset(input: &[u8], file: &str, reset: impl FnOnce()) -> Result {
    // C takes a 0 for "reset is not supported" and refuses all else.
    expect_one(input, &"stats", file)?;
    reset();
    Ok(())
}

fn reconnect(path: ArcBorrow<'_, Path>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    expect_one(input, &*path, "reconnect")?;
    Path::reconnect(&Arc::from(path))
}

fn disconnect(path: ArcBorrow<'_, Path>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    expect_one(input, &*path, "disconnect")?;
    Path::disconnect(&Arc::from(path));
    Ok(())
}

fn remove_path(path: ArcBorrow<'_, Path>, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
    expect_one(input, &*path, "remove_path")?;
    // The call below removes the directory of this file.
    ctx.break_protection(path.owner().params().module())?;
    let path: Arc<Path> = Arc::from(path);
    path.begin_shut_down()?;
    path.owner().remove_path(&path);
    Ok(())
}
