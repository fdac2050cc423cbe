// SPDX-License-Identifier: GPL-2.0-only

//! Bringing a path up, once the client has named its session.
//!
//! All connections must be there. The chunks are made and registered, a few at
//! a time, as the send queue of the connection for control has room for a few
//! only. When the last one is registered the session learns that the path is
//! up, and then the client is told where the chunks are.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::path_state::ServerState;
use rnbd_proto::wire::name::SessName;

use super::chunk;
use super::chunk::ChunkSlot;
use super::conn;
use super::conn::Conn;
use super::info::InfoSend;
use super::path::Path;
use super::path_dir::PathDir;
use super::recv::InlineImmBufs;
use super::recv::Receive;
use crate::pr_err_ratelimited;
use crate::pr_info_ratelimited;
use crate::rdma::qp::QpRef;

/// Registrations under way at a time.
const WINDOW: usize = 64;

/// How far the registration of the chunks is.
///
/// Only completions of the connection for control go on with it, one after the
/// other.
pub(super) struct Setup {
    /// Chunks whose registration was posted.
    posted: AtomicUsize,
    /// Chunks that are registered.
    registered: AtomicUsize,
}

impl Setup {
    pub(super) const fn new() -> Self {
        Self {
            posted: AtomicUsize::new(0),
            registered: AtomicUsize::new(0),
        }
    }
}

/// The client named its session: starts the set-up. In a completion of the
/// connection for control.
pub(super) fn begin(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, name: SessName<'_>) -> Result {
    let path = &conn.path;

    if path.coming.load(Relaxed) < path.count() {
        pr_err_ratelimited!("{path}: session named before all connections are up\n");
        return Err(EPROTO);
    }
    // The client may know of the last connection before we took it in.
    path.gathered.wait();
    if !(0..path.count()).all(|id| path.has_link(id)) {
        return Err(ENOTCONN);
    }
    path.shared.claim_name(path, name)?;
    path.session
        .lanes
        .prepare(path.shared.limits.queue_depth())?;
    path.make_inboxes()?;
    // Chunks belong to one path: a request that is still being served when its
    // path is lost must not have its data overwritten by the path that the
    // client goes on with.
    if !path.slots.populate(ChunkSlot::for_path(path)?) {
        return Err(EPROTO);
    }
    ChunkSlot::keep(path, path.slots.as_ref().ok_or(ENOTCONN)?)?;
    // Before the answer, as the client may send requests once it has it.
    for id in 0..path.count() {
        post_receives(path, id)?;
    }
    for _ in 0..WINDOW {
        register_next(path, qp)?;
    }
    Ok(())
}

fn post_receives(path: &Path, id: u16) -> Result {
    let count = conn::receives(id, path.shared.limits);
    let notes = match path.req().inline_imm() {
        true => Some(InlineImmBufs::new(&path.pd, count)?),
        false => None,
    };
    for index in 0..count {
        let idle = Receive::new(notes.as_ref().map(|notes| notes.place(index)).transpose()?)?;
        path.with_qp(id, move |qp| Receive::post(idle, qp))
            .ok_or(ENOTCONN)??;
    }
    Ok(())
}

fn register_next(path: &Path, qp: &QpRef<'_, Conn>) -> Result {
    let slots = path.slots.as_ref().ok_or(ENOTCONN)?;
    // The count may run past the end by one window.
    match slots.get(path.setup.posted.fetch_add(1, Relaxed)) {
        Some(slot) => chunk::register(slot, qp),
        None => Ok(()),
    }
}

/// A chunk was registered.
pub(super) fn registered(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>) {
    let path = &conn.path;
    let done = path.setup.registered.fetch_add(1, Relaxed) + 1;
    let all = path.slots.as_ref().map_or(0, |slots| slots.len());

    let result = if done < all {
        register_next(path, qp)
    } else {
        finish(path, qp)
    };
    if let Err(e) = result {
        path.fail(fmt!("set-up failed: {e:?}"));
    }
}

/// All chunks are registered: goes to work.
fn finish(path: &Arc<Path>, qp: &QpRef<'_, Conn>) -> Result {
    let slots = path.slots.as_ref().ok_or(ENOTCONN)?;
    let mut chunks = KVVec::with_capacity(slots.len(), GFP_KERNEL)?;
    for slot in slots {
        chunks.push(slot.describe()?, GFP_KERNEL)?;
    }
    // The teardown, which waits for this completion, takes all of it down again.
    let (service, paths) = path.session.path_up(&path.shared, &path.ends().peer())?;
    path.service.populate(service);
    let dir = PathDir::new(path, &paths).inspect_err(|e| {
        pr_err_ratelimited!("{path}: not shown in sysfs: {e:?}\n");
    })?;
    *path.dir.lock() = Some(dir);
    // From `Connecting`: there is no other way into this state.
    if !path.enter(ServerState::Connected) {
        return Err(ENOTCONN);
    }
    path.start_heartbeat();
    pr_info_ratelimited!("{path}: up, {} connections\n", path.count());
    InfoSend::post(qp, chunks.iter().copied())
}
