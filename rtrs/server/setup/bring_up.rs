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
    path_memory::QueueSizes,
    path_state::ServerState,
    wire::name::SessName, //
};

use crate::{
    kernel_ext::log::Plain,
    pr_err_ratelimited,
    pr_info_ratelimited,
    rdma::qp::QpRef,
    server::{
        auth,
        chunk::{
            ChunkSlot,
            Stage, //
        },
        path::{
            Conn,
            Path, //
        },
        receive::{
            Receive,
            ReceiveContent, //
        },
        service::SessionService,
        session::{
            SessionDir,
            SessionInfo, //
        },
        sysfs, //
    }, //
};

use super::info_rsp;

/// Maximum number of registrations in flight.
const WINDOW: usize = 64;

/// Begins the set-up, when the client has named its session by `info_req`. Runs in a completion of
/// the control connection.
pub(super) fn begin(
    conn: &Arc<Conn>,
    qp: &QpRef<'_, Conn>,
    name: SessName<'_>,
    info_req: &[u8],
) -> Result {
    let path = conn.path();
    let (config, links, data) = (path.config(), path.links(), path.data());

    if !links.all_announced() {
        pr_err_ratelimited!(path => "{path}: session named before all connections are up\n");
        return Err(EPROTO);
    }
    // The client may know of the last connection before it was added here.
    links.wait_for_all()?;
    // Before anything is allocated, or changed for other paths.
    let key = auth::authenticate(path, info_req)?;
    path.registry()
        .service()
        .admit_session(&path.ends().peer(), name, key)?;
    if let Some(key) = key {
        path.registry().claim_key(path, key)?;
    }
    path.registry().claim_name(path, name)?;
    path.session()
        .orders()
        .prepare(config.limits.queue_depth())?;
    data.make_queues(links.count(), config)?;
    // Chunks belong to one path: if a path is lost while one of its requests is executed, the
    // data of that request must not be overwritten by the path that the client goes on with.
    let chunks = ChunkSlot::for_path(path.pd(), config.limits, path.offer())?;
    data.set_chunks(chunks, config.limits.queue_depth())?;
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
        let keep = path.links().with_qp(id, |qp| qp.keep(&ops));
        keep.ok_or(ENOTCONN)??;
    }
    Ok(())
}

fn post_receives(path: &Path, id: u16) -> Result {
    let count = QueueSizes::new(id, &path.shape()).receives;
    let content = match path.offer() {
        offer if offer.inline_imm() => ReceiveContent::InlineImm,
        offer if offer.eager() && id != 0 => ReceiveContent::EagerRequest,
        _ => ReceiveContent::Imm,
    };
    let receives = Receive::set(path.pd(), count, content)?;
    let keep = path.links().with_qp(id, |qp| qp.keep(&receives));
    keep.ok_or(ENOTCONN)??;
    for receive in receives.iter() {
        let receive = receive.begin().ok_or(EBUSY)?;
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
        pr_err_ratelimited!(path => "{path}: not shown in sysfs: {e:?}\n");
    })?;
    path.set_dirs(dirs);
    // From `Connecting`: there is no other way into this state.
    if !path.enter(ServerState::Connected) {
        return Err(ENOTCONN);
    }
    path.start_heartbeat();
    pr_info_ratelimited!(path => "{path}: up, {} connections\n", path.links().count());
    info_rsp::send(qp, chunks.iter().copied(), path.auth().take())
}

/// Brings the session of `path` up.
fn session_up(path: &Path) -> Result<(Arc<dyn SessionService>, SessionDir)> {
    let (registry, session) = (path.registry(), path.session());
    let dir = sysfs::session::show(registry, session).inspect_err(|e| {
        pr_err_ratelimited!(path =>
            "session '{}' not shown in sysfs: {e:?}\n",
            Plain(session.name().to_bytes().escape_ascii())
        );
    })?;
    let info = SessionInfo::new(registry.clone(), path.config().limits, session.clone());
    Ok((registry.service().session_up(info)?, dir))
}
