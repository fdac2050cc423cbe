// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows of sessions and paths:
//! `/sys/class/rtrs-client/<session>/paths/<src@dst>/`.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-client`.

use super::endpoints::Endpoints;
use super::path::Path;
use super::session::Session;
use super::stats::Stats;
use super::Client;
use crate::kernel_ext::class::ClassDevice;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::sysfs::expect_one;
use crate::kernel_ext::sysfs::Attrs;
use crate::kernel_ext::sysfs::Buf;
use crate::kernel_ext::sysfs::StoreCtx;
use crate::kernel_ext::sysfs::SysfsDir;
use crate::sysfs_files;
use core::fmt::Write as _;
use core::sync::atomic::Ordering::Relaxed;
use kernel::fmt;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::rcu;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use rnbd_proto::mpath_policy::MpathPolicy;
use rnbd_proto::reconnect_backoff;
use rnbd_proto::stats::CurLatency;
use rnbd_proto::text;
use rnbd_proto::text::path_addr::PathAddr;
use rnbd_proto::text::ParseNumberError;

sysfs_files! {
    static SESSION_FILES: Files<Session> = [
        c"max_reconnect_attempts" =>
            show(show_max_reconnect_attempts)
            store(set_max_reconnect_attempts);
        c"fast_io_fail_tmo" => show(show_fail_io_after) store(set_fail_io_after);
        c"mpath_policy" => show(show_policy) store(set_policy);
        c"add_path" => show(show_add_path) store(add_path);
    ];
}

sysfs_files! {
    static PATH_FILES: Files<Path> = [
        c"hca_name" => show(|path, buf| with_ends(path, |ends| {
            buf.push(ends.device())?;
            buf.push(b"\n")
        }));
        c"hca_port" => show(|path, buf| with_ends(path, |ends| Ok(writeln!(buf, "{}", ends.port)?)));
        c"src_addr" => show(|path, buf| show_addr(path.src().ok_or(ENOTCONN)?, buf));
        c"dst_addr" => show(|path, buf| show_addr(path.dst(), buf));
        c"state" => show(|path, buf| Ok(writeln!(buf, "{}", path.state.get().as_str())?));
        c"reconnect" => show(|_, buf| buf.push(b"Usage: echo 1 > reconnect\n")) store(reconnect);
        c"disconnect" => show(|_, buf| buf.push(b"Usage: echo 1 > disconnect\n")) store(disconnect);
        c"remove_path" =>
            show(|_, buf| buf.push(b"Usage: echo 1 > remove_path\n")) store(remove_path);
        c"cur_latency" => show(show_latency);
    ];
}

type Of<'a> = ArcBorrow<'a, Stats>;

sysfs_files! {
    static STATS_FILES: Files<Stats> = [
        c"cpu_migration_from" => show(|stats: Of<'_>, buf| Ok(stats.print_migrated_from(buf)?))
            store(|stats: Of<'_>, input, _| reset(input, "cpu_migration_from", || stats.reset_migrations()));
        c"cpu_migration_to" => show(|stats: Of<'_>, buf| Ok(stats.print_migrated_to(buf)?))
            store(|stats: Of<'_>, input, _| reset(input, "cpu_migration_to", || stats.reset_migrations()));
        c"reconnects" => show(|stats: Of<'_>, buf| Ok(stats.print_reconnects(buf)?))
            store(|stats: Of<'_>, input, _| reset(input, "reconnects", || stats.reset_reconnects()));
        c"rdma" => show(|stats: Of<'_>, buf| Ok(stats.print_rdma(buf)?))
            store(|stats: Of<'_>, input, _| reset(input, "rdma", || stats.reset_rdma()));
        c"polled" => show(|stats: Of<'_>, buf| Ok(stats.print_polled(buf)?))
            store(|stats: Of<'_>, input, _| reset(input, "polled", || stats.reset_polled()));
        c"reset_all" => show(|_, buf| buf.push(b"echo 1 to reset all statistics\n"))
            store(|stats: Of<'_>, input, _| reset(input, "reset_all", || {
                stats.reset_migrations();
                stats.reset_reconnects();
                stats.reset_rdma();
                stats.reset_polled();
            }));
    ];
}

/// The files of a session. Fields are dropped in this order.
pub(super) struct SessionFiles {
    paths: KVec<PathFiles>,
    dir: SysfsDir,
    _attrs: Attrs,
}

/// The files of a path.
pub(super) struct PathFiles {
    path: Arc<Path>,
    /// Of the directory.
    name: CString,
    _stats: SysfsDir,
    dir: SysfsDir,
}

impl SessionFiles {
    /// Creates the files of a session without paths. References of the files keep
    /// the session until they are dropped.
    pub(super) fn new(client: &Client, session: &Arc<Session>) -> Result<Self> {
        let device = ClassDevice::new(&client.class, session.name())?;
        let attrs = Attrs::attach(&device, session.clone(), &SESSION_FILES)?;
        Ok(Self {
            paths: KVec::new(),
            dir: SysfsDir::bare(&device, c"paths")?,
            _attrs: attrs,
        })
    }

    /// Creates the files of a path. If they are there, gives them the name of what is
    /// known of it by now.
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
        let dir = SysfsDir::new(&self.dir, &name, path.clone(), &PATH_FILES)?;
        let stats = SysfsDir::new(&dir, c"stats", path.stats.clone(), &STATS_FILES)?;
        let files = PathFiles {
            path: path.clone(),
            name,
            _stats: stats,
            dir,
        };
        Ok(self.paths.push(files, GFP_KERNEL)?)
    }

    /// Takes out the files of a path, to be dropped without a lock.
    pub(super) fn hide(&mut self, path: &Arc<Path>) -> Option<PathFiles> {
        let shown = |files: &PathFiles| Arc::ptr_eq(&files.path, path);
        let index = self.paths.iter().position(shown)?;
        self.paths.remove(index).ok()
    }
}

/// What the directory of a path is called.
struct PathAddrs<'a>(&'a Path);

impl fmt::Display for PathAddrs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_way(f)
    }
}

fn with_ends(path: ArcBorrow<'_, Path>, f: impl FnOnce(&Endpoints) -> Result) -> Result {
    f(&path.ends().ok_or(ENOTCONN)?)
}

fn show_addr(addr: SockAddr, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(buf, "{addr}")?)
}

fn show_latency(path: ArcBorrow<'_, Path>, buf: &mut Buf<'_>) -> Result {
    let section = rcu::read_lock();
    let link = path.link.get(&section);
    let latency = link.map_or(0, |link| link.shared.heartbeat.latency_ns());
    Ok(write!(buf, "{}", CurLatency(latency))?)
}

fn reset(input: &[u8], file: &str, reset: impl FnOnce()) -> Result {
    // C takes a 0 for "reset is not supported" and refuses all else.
    expect_one(input, &"stats", file)?;
    reset();
    Ok(())
}

fn show_max_reconnect_attempts(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(buf, "{}", session.max_reconnect_attempts())?)
}

fn set_max_reconnect_attempts(
    session: ArcBorrow<'_, Session>,
    input: &[u8],
    _ctx: &StoreCtx<'_>,
) -> Result {
    let attempts = reconnect_backoff::parse_max_attempts(input).map_err(|why| {
        pr_err!(
            "{}: max_reconnect_attempts: '{}' is not between -1 and 9999\n",
            session.name(),
            Plain(input.escape_ascii())
        );
        Error::from_errno(-why.errno())
    })?;
    session.set_max_reconnect_attempts(attempts);
    Ok(())
}

fn show_fail_io_after(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    match session.fail_io_after.load(Relaxed) {
        seconds if seconds < 0 => buf.push(b"off\n"),
        seconds => Ok(writeln!(buf, "{seconds}")?),
    }
}

fn set_fail_io_after(session: ArcBorrow<'_, Session>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    let seconds = match input {
        b"off" => Ok(-1),
        _ => match text::parse_i32(input) {
            Ok(seconds) if seconds < 0 => Err(ParseNumberError::Malformed),
            read => read,
        },
    };
    let seconds = seconds.map_err(|why| {
        pr_err!(
            "{}: fast_io_fail_tmo: '{}' is neither off nor a number of seconds\n",
            session.name(),
            Plain(input.escape_ascii())
        );
        Error::from_errno(-why.errno())
    })?;
    session.fail_io_after.store(seconds, Relaxed);
    // Counts from now for what waits already.
    Session::limit_waiting(&Arc::from(session));
    Ok(())
}

fn show_policy(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(buf, "{}", session.policy())?)
}

fn set_policy(session: ArcBorrow<'_, Session>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    let policy = MpathPolicy::parse(input).ok_or_else(|| {
        pr_err!(
            "{}: mpath_policy: '{}' is none of round-robin, min-inflight, min-latency\n",
            session.name(),
            Plain(input.escape_ascii())
        );
        EINVAL
    })?;
    session.set_policy(policy);
    Ok(())
}

fn show_add_path(_session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    buf.push(b"Usage: echo [<source addr>@]<destination addr> > add_path\n\n")?;
    buf.push(b"*addr ::= [ ip:<ipv4|ipv6> | gid:<gid> ]\n")
}

fn add_path(session: ArcBorrow<'_, Session>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    let addr = PathAddr::parse(input).map_err(|e| {
        pr_err!(
            "{}: add_path: '{}' {}\n",
            session.name(),
            Plain(input.escape_ascii()),
            Plain(e)
        );
        EINVAL
    })?;
    let session = Arc::from(session);
    Session::add_path(&session, &addr).inspect_err(|e| {
        pr_err!("{}: add_path: {}: {e:?}\n", session.name(), Plain(addr));
    })
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
    // The directory of this very file is removed below.
    ctx.break_protection(path.session.user)?;
    let path = Arc::from(path);
    path.session.drop_path(&path);
    Ok(())
}
