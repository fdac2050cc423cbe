// SPDX-License-Identifier: GPL-2.0-only

//! Files of a session in sysfs.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-client`.

use core::fmt::Write as _;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use rnbd_proto::{
    mpath_policy::MpathPolicy,
    reconnect_backoff,
    session_settings,
    text::path_addr::PathAddr, //
};

use crate::{
    common::key_file,
    kernel_ext::{
        class::ClassDevice,
        log::Plain,
        sysfs::{
            Attrs,
            Buf,
            StoreCtx, //
        }, //
    },
    sysfs_files, //
};

use super::{
    session::Session,
    sysfs_dirs::SessionDir,
    Client, //
};

sysfs_files! {
    static SESSION_FILES: Files<Session> = [
        c"max_reconnect_attempts" =>
            show(show_max_reconnect_attempts)
            store(set_max_reconnect_attempts);
        c"fast_io_fail_tmo" => show(show_fast_io_fail_tmo) store(set_fast_io_fail_tmo);
        c"key" => show(show_key);
        c"mpath_policy" => show(show_policy) store(set_policy);
        c"add_path" => show(show_add_path) store(add_path);
    ];
}

/// Creates the directory of a session without paths. Its files keep the session until it is
/// dropped.
pub(super) fn create(client: &Client, session: &Arc<Session>) -> Result<SessionDir> {
    let device = ClassDevice::new(&client.class, session.name())?;
    let attrs = Attrs::attach(&device, session.clone(), &SESSION_FILES)?;
    SessionDir::new(&device, attrs)
}

fn show_max_reconnect_attempts(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(
        buf,
        "{}",
        session.params().max_reconnect_attempts()
    )?)
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

fn show_key(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    key_file::show(session.key(), buf)
}

fn show_fast_io_fail_tmo(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    match session.params().fast_io_fail_tmo() {
        seconds if seconds < 0 => buf.push(b"off\n"),
        seconds => Ok(writeln!(buf, "{seconds}")?),
    }
}

fn set_fast_io_fail_tmo(
    session: ArcBorrow<'_, Session>,
    input: &[u8],
    _ctx: &StoreCtx<'_>,
) -> Result {
    let seconds = session_settings::parse_fast_io_fail_tmo(input).map_err(|why| {
        pr_err!(
            "{}: fast_io_fail_tmo: '{}' is neither off nor a number of seconds\n",
            session.name(),
            Plain(input.escape_ascii())
        );
        Error::from_errno(-why.errno())
    })?;
    Session::set_fast_io_fail_tmo(&Arc::from(session), seconds);
    Ok(())
}

fn show_policy(session: ArcBorrow<'_, Session>, buf: &mut Buf<'_>) -> Result {
    Ok(writeln!(buf, "{}", session.paths().policy())?)
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
    session.paths().set_policy(policy);
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
