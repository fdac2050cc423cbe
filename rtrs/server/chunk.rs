// SPDX-License-Identifier: GPL-2.0-only

//! Chunks: the memory that a client writes its requests to, and the way of a
//! request from its arrival to the end of its answer.
//!
//! A chunk is one operation that is posted again and again: to register its
//! memory, to invalidate the client's key, to answer. Who has its [`HeldOp`] has
//! the chunk; a [`Request`](super::request::Request) is an `HeldOp` in the hands of
//! the service.

mod response;

use kernel::page::PAGE_SHIFT;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::chunk_state::ArrivalAction;
use rnbd_proto::chunk_state::ChunkState;
use rnbd_proto::chunk_state::RequestLocation;
use rnbd_proto::error::WireError;
use rnbd_proto::imm::IoReqPayload;
use rnbd_proto::limits::BufId;
use rnbd_proto::limits::ServerLimits;
use rnbd_proto::limits::HEADER_SIZE;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::path_state::ServerState;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::NextKey;
use rnbd_proto::wire::rtrs::SgDesc;
use rnbd_proto::wire::rtrs::MAX_REQUEST_MSG_SIZE;
use rnbd_proto::wire::rtrs::RKEY_RSP_SIZE;

use super::conn::Conn;
use super::path::Path;
use super::resend_order::Arrived;
use super::setup;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::pages::Pages;
use crate::rdma::dma::DmaBuf;
use crate::rdma::dma::DmaDir;
use crate::rdma::dma::DmaPages;
use crate::rdma::mr::Access;
use crate::rdma::mr::Mr;
use crate::rdma::op::HeldOp;
use crate::rdma::op::Op;
use crate::rdma::op::Operation;
use crate::rdma::op_set::OpSet;
use crate::rdma::qp::QpRef;
use crate::rdma::wc::Wc;

pub(super) use response::respond;

/// A chunk's place in its path.
pub(super) struct ChunkSlot {
    pub(super) op: Arc<Op<Chunk>>,
    pub(super) state: ChunkState,
}

/// What a chunk is posted for.
#[derive(Clone, Copy)]
enum Stage {
    Register,
    /// For this request.
    Invalidate(RequestLocation),
    Respond,
}

/// A chunk, with all that a request in it needs.
pub(super) struct Chunk {
    id: BufId,
    stage: Stage,
    /// The connection in whose queue its memory was registered last, since the set-up.
    home: Option<u16>,
    /// The user message, copied out of the client's reach, and then unused room.
    user: KVec<u8>,
    user_len: usize,
    /// The new key, on its way to the client, where it is sent.
    key: Option<DmaBuf>,
    // Before the memory that it describes.
    mr: Mr,
    mem: DmaPages,
}

impl ChunkSlot {
    /// The chunks of a path, none registered yet.
    pub(super) fn for_path(path: &Path) -> Result<KVec<Self>> {
        let limits = path.shared.limits;
        let mut slots = KVec::with_capacity(limits.queue_depth().get().into(), GFP_KERNEL)?;
        for id in limits.queue_depth().buffers() {
            let slot = Self {
                op: Op::new(Chunk::new(path, id)?)?,
                state: ChunkState::new(),
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(slots)
    }

    /// Has the queue pairs of `path` keep `slots`.
    pub(super) fn keep(path: &Path, slots: &[Self]) -> Result {
        let mut ops = KVec::with_capacity(slots.len(), GFP_KERNEL)?;
        for slot in slots {
            ops.push(slot.op.clone(), GFP_KERNEL)?;
        }
        let kept = OpSet::new(ops)?;
        for id in 0..path.count() {
            match path.with_qp(id, |qp| qp.keep(&kept)) {
                Some(true) => {}
                _ => return Err(ENOTCONN),
            }
        }
        Ok(())
    }

    /// What the client is told of it. `EBUSY` while it is in use.
    pub(super) fn describe(&self) -> Result<SgDesc> {
        let chunk = self.op.begin().ok_or(EBUSY)?;
        let len = u32::try_from(chunk.mr.length())?;
        SgDesc::new(chunk.mr.iova(), chunk.mr.rkey(), len).map_err(|_| EINVAL)
    }
}

/// Pages of a chunk, as a power of two.
fn order(limits: ServerLimits) -> u32 {
    let size = limits.chunk_size();
    size.checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(PAGE_SHIFT as u32)
}

/// Bytes of memory that a chunk takes.
pub(super) fn memory(limits: ServerLimits) -> usize {
    PAGE_SIZE << order(limits)
}

impl Chunk {
    fn new(path: &Path, id: BufId) -> Result<Self> {
        let size = path.shared.limits.chunk_size();
        let pages = Pages::new(order(path.shared.limits))?;
        let pages = Arc::new(pages, GFP_KERNEL)?;
        let mem = DmaPages::new(&path.pd, pages, DmaDir::Both)?;
        let mut mr = Mr::new(&path.pd, 1)?;
        mr.map(mem.mapped(), size)?;
        let key = match path.offer.next_key() {
            NextKey::Sent => Some(DmaBuf::new(&path.pd, RKEY_RSP_SIZE, DmaDir::ToDevice)?),
            NextKey::Same | NextKey::Stepped => None,
        };
        Ok(Self {
            id,
            stage: Stage::Register,
            home: None,
            user: KVec::zeroed(HEADER_SIZE as usize, GFP_KERNEL)?,
            user_len: 0,
            key,
            mr,
            mem,
        })
    }

    /// Which one it is; also the message id of the request in it.
    pub(super) fn id(&self) -> BufId {
        self.id
    }

    /// The user message of the request.
    pub(super) fn user(&self) -> &[u8] {
        self.user.get(..self.user_len).unwrap_or_default()
    }

    /// The memory.
    pub(super) fn pages(&self) -> &Arc<Pages> {
        self.mem.pages()
    }

    /// Reads the request whose message is at `offset`: once, as a client that
    /// has a key may change it meanwhile.
    pub(super) fn read(
        &mut self,
        offset: u32,
    ) -> core::result::Result<rtrs::RequestMsg, WireError> {
        let beyond = |_| WireError::Offset(offset);
        let size = u32::try_from(self.mem.pages().len()).map_err(|_| WireError::Offset(offset))?;
        let range = rtrs::RequestMsg::message_range(offset, size)?;
        self.mem.sync_for_cpu(0, range.end);

        let (mut message, room) = ([0; MAX_REQUEST_MSG_SIZE], MAX_REQUEST_MSG_SIZE);
        let message = message.get_mut(..range.len());
        let message = message.ok_or(no_room(range.len(), room))?;
        self.mem
            .pages()
            .read_at(range.start, message)
            .map_err(beyond)?;
        let request = rtrs::RequestMsg::parse(message, offset)?;

        let (range, room) = (request.user_range(), self.user.len());
        let user = self.user.get_mut(..range.len());
        let user = user.ok_or(no_room(range.len(), room))?;
        self.mem
            .pages()
            .read_at(range.start, user)
            .map_err(beyond)?;
        self.user_len = range.len();
        Ok(request)
    }
}

fn no_room(need: usize, got: usize) -> WireError {
    WireError::NoRoom { need, got }
}

impl Operation for Chunk {
    type Context = Conn;

    fn finish(chunk: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let conn = qp.context();

        match chunk.stage {
            Stage::Register => {
                drop(chunk);
                if conn.check(wc, "registration of a chunk") {
                    setup::registered(conn, qp);
                }
            }
            Stage::Invalidate(arrival) => {
                // Otherwise the client can still write to it: no request.
                if !conn.check(wc, "invalidation of a chunk") {
                } else if arrival.connection == conn.id {
                    ready(conn, chunk, arrival.offset);
                } else if let Some(conn) = conn.path.conn(arrival.connection) {
                    ready(&conn, chunk, arrival.offset);
                }
            }
            Stage::Respond => {
                let id = chunk.id;
                drop(chunk);
                if conn.check(wc, "answer") {
                    answered(&conn.path, id);
                }
            }
        }
    }
}

/// Registers the memory of a chunk for the first time.
pub(super) fn register(slot: &ChunkSlot, qp: &QpRef<'_, Conn>) -> Result {
    let mut chunk = slot.op.begin().ok_or(EBUSY)?;
    chunk.stage = Stage::Register;
    qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
        chain.reg_mr(&chunk.mr, Access::RemoteWrite)
    })
    .map_err(|(_, e)| e)
}

/// A client says that it put a request at `place`.
pub(super) fn arrive(conn: &Arc<Conn>, place: IoReqPayload) {
    let path = &conn.path;

    if path.state.get() != ServerState::Connected {
        return path.fail(fmt!("request before the session is up"));
    }
    let (id, offset) = match path.offer.layout().decode(place) {
        Ok(place) => place,
        Err(reason) => return path.fail(fmt!("{}", Plain(reason))),
    };
    let Some(slot) = slot(path, id) else { return };
    let arrival = RequestLocation {
        connection: conn.id,
        offset,
    };
    match slot.state.request_arrived(arrival) {
        ArrivalAction::Serve => serve(conn, slot, offset),
        ArrivalAction::Wait => {}
        ArrivalAction::Violation => path.fail(fmt!("message id {} used while in flight", id.get())),
    }
}

fn slot(path: &Path, id: BufId) -> Option<&ChunkSlot> {
    path.slots.as_ref()?.get(id.index())
}

/// It is the request's turn: takes the chunk away from the client, if so
/// configured, and has the request served.
fn serve(conn: &Arc<Conn>, slot: &ChunkSlot, offset: u32) {
    let path = &conn.path;
    let Some(mut chunk) = slot.op.begin() else {
        return path.fail(fmt!("chunk in use out of turn"));
    };

    if !path.offer.new_rkey() {
        return ready(conn, chunk, offset);
    }
    chunk.stage = Stage::Invalidate(RequestLocation {
        connection: conn.id,
        offset,
    });
    // In the queue in which it was registered, so that it is done after that: a client
    // need not have waited for the answer, and may have sent this one elsewhere.
    let queue = chunk.home.unwrap_or(conn.id);
    let posted = path.with_qp(queue, move |qp| {
        qp.post_send(chunk, AwaitedEvents::Send, |chunk, chain| {
            chain.local_inv(chunk.mr.rkey())
        })
        .map_err(|(_, e)| e)
    });
    if let Some(Err(e)) = posted {
        path.fail(fmt!("invalidation not posted: {e:?}"));
    }
}

/// The request at `offset` of `chunk` is out of the client's reach: sends it on its way to
/// the service.
fn ready(conn: &Arc<Conn>, chunk: HeldOp<Chunk>, offset: u32) {
    let lanes = &conn.path.session.lanes;
    lanes.submit(conn, Arrived::new(chunk, conn.clone(), offset));
}

/// The answer in chunk `id` was sent; serves a request that waited for that.
fn answered(path: &Arc<Path>, id: BufId) {
    let Some(slot) = slot(path, id) else { return };
    let Some(arrival) = slot.state.response_sent() else {
        return;
    };
    if let Some(conn) = path.conn(arrival.connection) {
        serve(&conn, slot, arrival.offset);
    }
}
