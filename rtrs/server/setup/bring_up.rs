// SPDX-License-Identifier: GPL-2.0-only

//! Set-up of a path once the client has named its session.
//!
//! All connections must be there. The chunks are created, and registered a few at a time, as the
//! send queue of the control connection is short. After the last registration the session learns
//! that the path is up, and then the client is told where the chunks are.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    op_state::AwaitedEvents,
    path_state::ServerState,
    wire::name::SessName, //
};

use crate::{
    kernel_ext::log::Plain,
    pr_err_ratelimited,
    pr_info_ratelimited,
    rdma::qp::QpRef,
    server::{
        chunk::{
            ChunkSlot,
            Stage, //
        },
        io::recv::{
            InlineImmBufs,
            Receive, //
        },
        path::{
            Conn,
            Path, //
        },
        service::SessionService,
        session::{
            SessionDir,
            SessionInfo, //
        },
        sysfs, //
    }, //
};

use super::{
    info_rsp,
    qp_config, //
};

/// Maximum number of registrations in flight.
const WINDOW: usize = 64;

/// Begins the set-up, when the client has named its session. Runs in a completion of the control
/// connection.
pub(super) fn begin(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>, name: SessName<'_>) -> Result {
    let path = conn.path();
    let (config, links, data) = (path.config(), path.links(), path.data());

    if !links.all_announced() {
        pr_err_ratelimited!("{path}: session named before all connections are up\n");
        return Err(EPROTO);
    }
    // The client may know of the last connection before it was added here.
    links.wait_for_all()?;
    path.registry().claim_name(path, name)?;
    path.session()
        .orders()
        .prepare(config.limits.queue_depth())?;
    data.make_queues(links.count(), config)?;
    // Chunks belong to one path: if a path is lost while one of its requests is executed, the
    // data of that request must not be overwritten by the path that the client goes on with.
    data.set_chunks(ChunkSlot::for_path(path.pd(), config.limits, path.offer())?)?;
    keep_chunks(path)?;
    // Before the response, as the client may send requests once it has that.
    for id in 0..links.count() {
        post_receives(path, id)?;
    }
    for _ in 0..WINDOW {
        register_next(path, qp)?;
    }
    Ok(())
}

/// Has all queue pairs of `path` keep its chunks.
fn keep_chunks(path: &Path) -> Result {
    let ops = ChunkSlot::op_set(path.data().chunks()?)?;
    for id in 0..path.links().count() {
        match path.links().with_qp(id, |qp| qp.keep(&ops)) {
            Some(true) => {}
            _ => return Err(ENOTCONN),
        }
    }
    Ok(())
}

fn post_receives(path: &Path, id: u16) -> Result {
    let count = qp_config::receives(id, path.config().limits);
    let bufs = match path.req().inline_imm() {
        true => Some(InlineImmBufs::new(path.pd(), count)?),
        false => None,
    };
    for index in 0..count {
        let receive = Receive::new(bufs.as_ref().map(|bufs| bufs.get(index)).transpose()?)?;
        path.links()
            .with_qp(id, move |qp| Receive::post(receive, qp))
            .ok_or(ENOTCONN)??;
    }
    Ok(())
}

fn register_next(path: &Path, qp: &QpRef<'_, Conn>) -> Result {
    // The index may exceed the number of chunks by one window.
    let Some(slot) = path.data().chunks()?.get(path.setup().next_to_post()) else {
        return Ok(());
    };
    let mut chunk = slot.begin().ok_or(EBUSY)?;
    chunk.set_stage(Stage::Register);
    qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
        chunk.build_registration(chain)
    })
    .map_err(|(_, e)| e)
}

/// Continues the set-up after the registration of a chunk.
pub(in crate::server) fn chunk_registered(conn: &Arc<Conn>, qp: &QpRef<'_, Conn>) {
    let path = conn.path();
    let done = path.setup().registered();
    let all = path.data().chunks().map_or(0, |chunks| chunks.len());

    let result = if done < all {
        register_next(path, qp)
    } else {
        finish(path, qp)
    };
    if let Err(e) = result {
        path.fail(fmt!("set-up failed: {e:?}"));
    }
}

/// Brings the path up, when all chunks are registered.
fn finish(path: &Arc<Path>, qp: &QpRef<'_, Conn>) -> Result {
    let slots = path.data().chunks()?;
    let mut chunks = KVVec::with_capacity(slots.len(), GFP_KERNEL)?;
    for slot in slots {
        chunks.push(slot.describe()?, GFP_KERNEL)?;
    }
    // The teardown, which waits for this completion, reverts all of the following.
    let peer = path.ends().peer();
    let (service, parent) = path.session().path_up(&peer, || session_up(path))?;
    path.set_service(service);
    let dirs = sysfs::path::show(path, &parent).inspect_err(|e| {
        pr_err_ratelimited!("{path}: not shown in sysfs: {e:?}\n");
    })?;
    path.set_dirs(dirs);
    // From `Connecting`: there is no other way into this state.
    if !path.enter(ServerState::Connected) {
        return Err(ENOTCONN);
    }
    path.start_heartbeat();
    pr_info_ratelimited!("{path}: up, {} connections\n", path.links().count());
    info_rsp::send(qp, chunks.iter().copied())
}

/// Brings the session of `path` up.
fn session_up(path: &Path) -> Result<(Arc<dyn SessionService>, SessionDir)> {
    let (registry, session) = (path.registry(), path.session());
    let dir = sysfs::session::show(registry, session).inspect_err(|e| {
        pr_err_ratelimited!(
            "session '{}' not shown in sysfs: {e:?}\n",
            Plain(session.name().to_bytes().escape_ascii())
        );
    })?;
    let info = SessionInfo::new(registry.clone(), path.config().limits, session.clone());
    Ok((registry.service().session_up(info)?, dir))
}
