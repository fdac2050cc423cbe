// SPDX-License-Identifier: GPL-2.0-only

//! A request: from the block layer's data to the server's answer.
//!
//! ```text
//! submit:  fill and map the data, register it for READ,
//!          write header (and data) into the server's chunk   -> in flight
//! in flight: until the send completed and the server answered
//! finish:  invalidate the region, unless the server did so   -> in flight
//!          (it does unless answers are short)
//!          unmap, release the slot, tell the owner
//! ```

use super::conn::Conn;
use super::io_request::Direction;
use super::io_request::IoRequest;
use super::link::Negotiated;
use super::link::RemoteBuf;
use super::path::Path;
use super::stats::Stats;
use crate::pr_err_ratelimited;
use crate::rdma::dma::DmaBuf;
use crate::rdma::dma::DmaDir;
use crate::rdma::mr::Access;
use crate::rdma::mr::Mr;
use crate::rdma::op::HeldOp;
use crate::rdma::op::Op;
use crate::rdma::op::Operation;
use crate::rdma::payload::PayloadBox;
use crate::rdma::pd::Pd;
use crate::rdma::qp::QpRef;
use crate::rdma::sg::MappedSg;
use crate::rdma::sg::SgTable;
use crate::rdma::sg::MAX_SEGMENTS;
use crate::rdma::wc::Wc;
use crate::rdma::wr::Remote;
use crate::rdma::wr::SendChain;
use crate::rdma::wr::MAX_DATA_SGES;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::limits::BufId;
use rnbd_proto::limits::REGISTRATION_UNIT;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::wire::rnbd::MAX_MSG_SIZE;
use rnbd_proto::wire::rtrs::DataTransfer;
use rnbd_proto::wire::rtrs::RequestMsg;
use rnbd_proto::wire::rtrs::SgDesc;
use rnbd_proto::wire::rtrs::MAX_REQUEST_MSG_SIZE;

/// Room for the longest user message with the transport's own behind it.
const HEADER_SIZE: usize = MAX_MSG_SIZE + MAX_REQUEST_MSG_SIZE;

/// The data of a request.
enum Data {
    /// None, and a table that is free for use.
    Free(SgTable),
    /// Seen by the device.
    Mapped(MappedSg),
    /// Between the two.
    Moving,
}

/// Where a request goes.
struct RequestRoute {
    dir: Direction,
    addr: u64,
    rkey: u32,
    len: u32,
}

/// What a request is in flight for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Request,
    Invalidation,
}

/// One of the requests that a path can have in flight, by message id.
pub(super) struct RdmaRequest {
    id: BufId,
    header: DmaBuf,
    mr: Mr,
    data: Data,
    /// Whether the keys of `mr` are valid, so that they must be invalidated
    /// before the data can be given back.
    registered: bool,
    phase: Phase,
    /// The connection that it was sent over.
    conn: u16,
    order: Option<IoRequest>,
    stats: Arc<Stats>,
    /// What the server answered: 0 or a negative errno.
    answer: AtomicI32,
    /// Whether the server has invalidated the key.
    invalidated: AtomicBool,
}

impl RdmaRequest {
    /// Makes the request for message id `id`, with data that touch up to `units`
    /// registration units.
    pub(super) fn new(
        pd: &Arc<Pd>,
        id: BufId,
        units: u32,
        stats: Arc<Stats>,
    ) -> Result<Arc<Op<Self>>> {
        Op::new(Self {
            id,
            header: DmaBuf::new(pd, HEADER_SIZE, DmaDir::ToDevice)?,
            mr: Mr::new(pd, units)?,
            data: Data::Free(SgTable::new(pd, MAX_SEGMENTS)?),
            registered: false,
            phase: Phase::Request,
            conn: 0,
            order: None,
            stats,
            answer: AtomicI32::new(0),
            invalidated: AtomicBool::new(false),
        })
    }

    /// Notes the answer, while in flight.
    pub(super) fn record(&self, errno: i32, invalidated: bool) {
        self.answer
            .store(errno.saturating_abs().saturating_neg(), Relaxed);
        self.invalidated.store(invalidated, Relaxed);
    }

    /// The key under which the server may write the data.
    pub(super) fn rkey(&self) -> u32 {
        self.mr.rkey()
    }

    /// Sends a request on `qp`, or gives it back.
    pub(super) fn submit(
        mut this: HeldOp<Self>,
        qp: &QpRef<'_, Conn>,
        table: &Negotiated,
        chunk: &RemoteBuf,
        data_sges: usize,
        order: IoRequest,
    ) -> core::result::Result<(), (IoRequest, Error)> {
        let way = RequestRoute {
            dir: order.dir,
            addr: chunk.addr,
            rkey: chunk.rkey(),
            len: order.len,
        };
        let (imm, header) = match this.prepare(table, data_sges, &order) {
            Ok(prepared) => prepared,
            Err(e) => {
                this.unmap();
                return Err((order, e));
            }
        };
        this.stats.sending(order.dir, order.len);
        this.order = Some(order);
        this.conn = qp.context().id;
        let awaited = match way.dir {
            // Followed by the invalidation in the same queue, which is done after it.
            Direction::Read if this.registered && table.short_responses => AwaitedEvents::Response,
            // What the device may still send again must not be given back.
            Direction::Read | Direction::Write => AwaitedEvents::SendAndResponse,
        };
        // The invalidation must find room: without it the data cannot be given back.
        let spare = u32::from(this.registered);
        let posted = qp.post_send_and_reserve(this, awaited, spare, |req, chain| {
            req.build(chain, &way, header, imm)
        });
        match posted {
            Ok(()) => Ok(()),
            Err((mut this, e)) => match this.take() {
                Some(order) => Err((order, e)),
                None => Ok(()),
            },
        }
    }

    /// Maps the data and writes the header; answers the immediate and the
    /// header's length.
    fn prepare(
        &mut self,
        table: &Negotiated,
        data_sges: usize,
        order: &IoRequest,
    ) -> Result<(u32, usize)> {
        let IoRequest {
            dir, len, ref io, ..
        } = *order;
        let room = self.header.bytes_mut()?.get_mut(..MAX_MSG_SIZE);
        let msg_len = io.message(room.ok_or(EMSGSIZE)?)?;
        if msg_len > MAX_MSG_SIZE {
            return Err(EMSGSIZE);
        }
        let transfer = if len == 0 {
            match dir {
                Direction::Read => DataTransfer::None,
                Direction::Write => DataTransfer::ToServer,
            }
        } else {
            let segments = self.map(dir, io)?;
            match dir {
                Direction::Write => {
                    if segments > data_sges.min(MAX_DATA_SGES) {
                        self.describe()?;
                    }
                    DataTransfer::ToServer
                }
                Direction::Read => {
                    self.describe()?;
                    let desc = SgDesc::new(
                        self.mr.iova(),
                        self.mr.rkey(),
                        u32::try_from(self.mr.length())?,
                    )
                    .map_err(|_| EIO)?;
                    DataTransfer::ToClient {
                        desc,
                        invalidate: !table.short_responses,
                    }
                }
            }
        };
        let request =
            RequestMsg::new(len, u16::try_from(msg_len)?, transfer).map_err(|_| EINVAL)?;
        let tail = self
            .header
            .bytes_mut()?
            .get_mut(msg_len..)
            .ok_or(EMSGSIZE)?;
        let tail_len = request.encode(tail).map_err(|_| EINVAL)?;
        let header = msg_len.checked_add(tail_len).ok_or(EINVAL)?;
        self.header.sync_for_device(0, header);
        let imm = table
            .layout
            .encode(self.id, request.offset())
            .map_err(|_| EMSGSIZE)?;
        self.phase = Phase::Request;
        Ok((imm.encode(), header))
    }

    /// Makes the device see the data of `io`; answers the number of segments.
    fn map(&mut self, dir: Direction, io: &PayloadBox) -> Result<usize> {
        let Data::Free(table) = core::mem::replace(&mut self.data, Data::Moving) else {
            return Err(EIO);
        };
        let way = match dir {
            Direction::Read => DmaDir::FromDevice,
            Direction::Write => DmaDir::ToDevice,
        };
        match io.map(table, way) {
            Ok(map) => {
                let segments = map.segments();
                self.data = Data::Mapped(map);
                Ok(segments)
            }
            Err((table, e)) => {
                self.data = Data::Free(table);
                Err(e)
            }
        }
    }

    /// Describes the mapped data by the region, under a new key, which is valid
    /// once the request was sent.
    fn describe(&mut self) -> Result {
        match &self.data {
            Data::Mapped(map) => self.mr.map(map, REGISTRATION_UNIT)?,
            _ => return Err(EINVAL),
        }
        self.registered = true;
        Ok(())
    }

    /// Puts the work requests together.
    fn build<'a>(
        &'a self,
        chain: &mut SendChain<'a>,
        way: &RequestRoute,
        header: usize,
        imm: u32,
    ) -> Result {
        let to = Remote {
            addr: way.addr,
            rkey: way.rkey,
        };
        let head = self.header.sge(0, header)?;
        match (&self.data, way.dir) {
            (Data::Mapped(_), Direction::Read) => {
                chain.reg_mr(&self.mr, Access::RemoteWrite)?;
                // Data of the reply will come first in the chunk.
                let addr = way.addr.checked_add(u64::from(way.len)).ok_or(EINVAL)?;
                chain.rdma_write_imm(&[head], Remote { addr, ..to }, imm)
            }
            (Data::Mapped(_), Direction::Write) if self.registered => {
                chain.reg_mr(&self.mr, Access::Local)?;
                chain.rdma_write_imm(&[self.mr.sge()?, head], to, imm)
            }
            (Data::Mapped(map), Direction::Write) => {
                chain.rdma_write_imm_behind(map, head, to, imm)
            }
            _ => chain.rdma_write_imm(&[head], to, imm),
        }
    }

    /// Ends the device's view of the data.
    fn unmap(&mut self) {
        self.data = match core::mem::replace(&mut self.data, Data::Moving) {
            Data::Mapped(map) => Data::Free(map.unmap()),
            other => other,
        };
        self.registered = false;
    }

    /// Whether the server or the device may still use the key.
    fn needs_invalidation(&self) -> bool {
        self.phase == Phase::Request && self.registered && !self.invalidated.load(Relaxed)
    }

    /// Takes out what was asked for, which is not in flight any more.
    fn take(&mut self) -> Option<IoRequest> {
        self.unmap();
        let order = self.order.take()?;
        self.stats.ended();
        Some(order)
    }

    /// Takes out what was not answered. Only after the link was drained: nobody
    /// can touch the data any more, whatever keys are still valid.
    pub(super) fn salvage(mut this: HeldOp<Self>) -> Option<IoRequest> {
        this.take()
    }
}

impl HeldOp<RdmaRequest> {
    /// Releases the request, which `path` carried, and tells the owner of the data.
    fn complete(mut self, path: &Path, result: Result) {
        let order = self.take();
        // First, as the owner may use the message id again at once.
        drop(self);
        if let Some(order) = order {
            if let Err(e) = result {
                order.trace_error(path, e);
            }
            order.io.done(result);
        }
    }
}

impl Operation for RdmaRequest {
    type Context = Conn;

    fn completed(&self, qp: &QpRef<'_, Conn>, wc: &Wc) {
        if !wc.is_ok() && !wc.is_flush() {
            pr_err_ratelimited!("sending a request failed: {}\n", wc.status_name());
            qp.context().shared.fail("sending a request failed");
        }
    }

    fn finish(mut op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let Some(qp) = qp else {
            // Answered by teardown, which takes out what is in it.
            return;
        };
        if qp.context().id != op.conn {
            // Nothing that was sent can be told to be done. As below.
            qp.context().shared.fail("answer over another connection");
            return;
        }
        if op.phase == Phase::Invalidation && wc.is_none_or(|wc| !wc.is_ok()) {
            // The link is lost. The key may be valid still: as below.
            return;
        }
        if op.needs_invalidation() {
            op.phase = Phase::Invalidation;
            let posted = qp.post_send_reserved(op, AwaitedEvents::Send, |req, chain| {
                chain.local_inv(req.mr.rkey())
            });
            if let Err((op, _)) = posted {
                // The server could still write to the data. It is kept until
                // the link was shut down, which finds it.
                drop(op);
                qp.context().shared.fail("a key could not be invalidated");
            }
            return;
        }
        if op.registered && op.phase == Phase::Request {
            // The server has invalidated the key.
            qp.release_reserved();
        }
        let result = match op.answer.load(Relaxed) {
            0 => Ok(()),
            errno => Err(Error::from_errno(errno)),
        };
        op.complete(qp.context().shared.path(), result);
    }
}
