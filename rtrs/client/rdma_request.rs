// SPDX-License-Identifier: GPL-2.0-only

//! A request on one link: from the data of the block layer to the server's response.
//!
//! ```text
//! submit    fills and maps the data, registers it for a READ,
//!           writes header (and data) into the server's chunk,
//!           or sends them, if the request is eager             -> in flight
//! in flight until the send completed and the server responded;
//!           data of a small READ come with the response, and are copied
//! finish    invalidates the region, unless the server did so   -> in flight
//!           (it does if responses are not short)
//!           unmaps, releases the message id, completes the payload
//! ```
//!
//! `withdrawal.rs` has what happens if there is no response.

mod withdrawal;

use core::{
    marker::PhantomData,
    sync::atomic::{
        AtomicBool,
        AtomicI32,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    limits::BufId,
    op_state::AwaitedEvents,
    wire::{
        rnbd::MAX_MSG_SIZE,
        rtrs::{
            eager,
            DataTransfer,
            RequestMsg,
            MAX_REQUEST_MSG_SIZE, //
        }, //
    }, //
};

use crate::{
    kernel_ext::log::LogSubject,
    pr_err_ratelimited,
    rdma::{
        dma::{
            DmaBuf,
            DmaDir, //
        },
        op::{
            HeldOp,
            Op,
            Operation, //
        },
        payload::PayloadBox,
        pd::Pd,
        qp::QpRef,
        wc::Wc, //
    }, //
};

use super::{
    io_request::{
        Direction,
        IoRequest,
        SubmitResult, //
    },
    negotiated::Negotiated,
    remote_buf::RemoteBuf,
    request_data::{
        RequestData,
        RequestRoute, //
    },
    stats::Stats, //
};

/// Longest user message with the message of the transport behind it, in bytes.
const HEADER_SIZE: usize = MAX_MSG_SIZE + MAX_REQUEST_MSG_SIZE;

/// Work requests of a connection that are not signaled before one is, if the requests that they
/// belong to need no completion.
const MAX_UNSIGNALED: u32 = 32;

/// A request as it is about to be sent.
struct Prepared {
    imm: u32,
    /// Bytes of the header.
    header: usize,
    eager: bool,
}

/// The work request that is in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Request,
    Invalidation,
    /// The invalidation of a request that is being withdrawn.
    Withdrawal,
    /// The registration of other memory for the data of a READ that was withdrawn.
    Sink,
}

/// What a request needs of the connection that carries it.
pub(super) trait RequestConn: Send + Sync + 'static {
    /// Returns the number of the connection within its link.
    fn id(&self) -> u16;

    /// Whether its completions are handled only while a task polls for them.
    fn is_polled(&self) -> bool;

    /// Ends the link because of `why`.
    fn fail_link(&self, why: &str);

    /// Returns the path, for log lines.
    fn path(&self) -> &dyn LogSubject;
}

/// The request of one message id on one link, on connections with context `C`.
pub(super) struct RdmaRequest<C> {
    id: BufId,
    header: DmaBuf,
    data: RequestData,
    phase: Phase,
    /// Number of the connection that it was sent over.
    conn: u16,
    /// Bytes of data that come with the response.
    in_response: u32,
    request: Option<IoRequest>,
    /// The payload that another one stands in for, while an adapter may access its data.
    withdrawn: Option<PayloadBox>,
    stats: Arc<Stats>,
    /// Result in the server's response: 0 or a negative errno.
    errno: AtomicI32,
    /// Whether the server has invalidated the key.
    invalidated: AtomicBool,
    /// Whether the server's response had other data than the request asked for.
    malformed: AtomicBool,
    _conn: PhantomData<fn(C)>,
}

impl<C: RequestConn> RdmaRequest<C> {
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
            data: RequestData::new(pd, units)?,
            phase: Phase::Request,
            conn: 0,
            in_response: 0,
            request: None,
            withdrawn: None,
            stats,
            errno: AtomicI32::new(0),
            invalidated: AtomicBool::new(false),
            malformed: AtomicBool::new(false),
            _conn: PhantomData,
        })
    }

    /// Records the response, while in flight, and copies the data that came with it. If they are
    /// not those that the request asked for, the link is going to fail in place of the request.
    pub(super) fn record(&self, errno: i32, invalidated: bool, data: &[u8]) {
        let expected = match errno {
            0 => self.in_response as usize,
            _ => 0,
        };
        let malformed = match &self.request {
            // Nobody wants the data of a request that was withdrawn.
            Some(request) if request.stand_in => false,
            _ if data.len() != expected => true,
            Some(request) if expected > 0 => request.payload.copy_in(data).is_err(),
            _ => false,
        };
        self.errno
            .store(errno.saturating_abs().saturating_neg(), Relaxed);
        self.invalidated.store(invalidated, Relaxed);
        self.malformed.store(malformed, Relaxed);
    }

    /// Returns the key under which the server may write the data.
    pub(super) fn rkey(&self) -> u32 {
        self.data.rkey()
    }

    /// Sends a request on `qp`, or gives it back.
    // Not inlined, so that callers pass the request on where it is.
    #[inline(never)]
    pub(super) fn submit(
        mut this: HeldOp<Self>,
        qp: &QpRef<'_, C>,
        negotiated: &Negotiated,
        remote_buf: &RemoteBuf,
        request: IoRequest,
    ) -> SubmitResult {
        let route = RequestRoute {
            dir: request.dir,
            addr: remote_buf.addr(),
            rkey: remote_buf.rkey(),
            len: request.len,
        };
        // Beside the header.
        let data_sges = (qp.send_queue().sges as usize).saturating_sub(1);
        let Prepared { imm, header, eager } = match this.prepare(negotiated, data_sges, &request) {
            Ok(prepared) => prepared,
            Err(e) => {
                this.unmap();
                return Err((request, e));
            }
        };
        remote_buf.set_written(!eager);
        this.stats
            .sending(request.dir, request.len, request.compared);
        this.request = Some(request);
        this.conn = qp.context().id();
        let awaited = match route.dir {
            // The completion of the invalidation, next in the same queue, covers the send.
            Direction::Read if this.data.is_registered() && negotiated.short_responses => {
                AwaitedEvents::Response
            }
            // Nothing but the header, which belongs to the connection. A polled connection has to
            // bring its credits back now: nobody polls for the completion of a later nop.
            _ if eager
                && !this.data.is_mapped()
                && !qp.context().is_polled()
                && qp.deferred_credits() < MAX_UNSIGNALED =>
            {
                AwaitedEvents::Response
            }
            // The device may still send the buffers again until the send completes.
            Direction::Read | Direction::Write => AwaitedEvents::SendAndResponse,
        };
        // Reserve a credit for the invalidation: without it the data cannot be given back.
        let reserved = u32::from(this.data.is_registered());
        let posted = qp.post_send_and_reserve(this, awaited, reserved, |req, chain| {
            let header = req.header.sge(0, header)?;
            match eager {
                true => req.data.build_eager(chain, route.dir, header, imm),
                false => req.data.build(chain, &route, header, imm),
            }
        });
        match posted {
            Ok(()) => Ok(()),
            Err((mut this, e)) => match this.take() {
                Some(request) => Err((request, e)),
                None => Ok(()),
            },
        }
    }

    /// Maps the data and writes the header.
    fn prepare(
        &mut self,
        negotiated: &Negotiated,
        data_sges: usize,
        request: &IoRequest,
    ) -> Result<Prepared> {
        let IoRequest {
            dir,
            len,
            ref payload,
            ..
        } = *request;
        let room = self.header.bytes_mut()?.first_chunk_mut();
        let room: &mut [u8; MAX_MSG_SIZE] = room.ok_or(EMSGSIZE)?;
        if negotiated.is_eager() {
            // What an eager header has behind the message.
            let header: Option<&mut [u8; eager::HEADER_SIZE]> = room.first_chunk_mut();
            header.ok_or(EMSGSIZE)?.fill(0);
        }
        let msg_len = payload.message(room)?;
        if msg_len > MAX_MSG_SIZE {
            return Err(EMSGSIZE);
        }
        let invalidate = !negotiated.short_responses;
        let (sent, wanted) = match dir {
            Direction::Read => (0, len),
            Direction::Write => (len, 0),
        };
        let fits = negotiated.is_eager() && eager::fits(msg_len, sent, wanted, negotiated.next_key);
        let transfer = self
            .data
            .prepare(dir, len, payload, data_sges, invalidate, fits)?;
        // Of more segments than the device sends with a message, data go to the chunk.
        let eager = fits && !(dir == Direction::Write && self.data.is_registered());
        self.in_response = match transfer {
            DataTransfer::InResponse { len } => len,
            _ => 0,
        };
        let msg = RequestMsg::new(len, u16::try_from(msg_len)?, transfer).map_err(|_| EINVAL)?;
        let bytes = self.header.bytes_mut()?;
        let header = if eager {
            let header = bytes.first_chunk_mut().ok_or(EMSGSIZE)?;
            eager::encode(&msg, header).map_err(|_| EINVAL)?;
            header.len()
        } else {
            let tail = bytes.get_mut(msg_len..).ok_or(EMSGSIZE)?;
            let tail_len = msg.encode(tail).map_err(|_| EINVAL)?;
            msg_len.checked_add(tail_len).ok_or(EINVAL)?
        };
        self.header.sync_for_device(0, header);
        let imm = negotiated
            .layout
            .encode(self.id, msg.offset())
            .map_err(|_| EMSGSIZE)?;
        self.phase = Phase::Request;
        Ok(Prepared {
            imm: imm.encode(),
            header,
            eager,
        })
    }

    /// Unmaps the data.
    fn unmap(&mut self) {
        self.data.unmap();
    }

    /// Whether the server or the device may still use the key.
    fn needs_invalidation(&self) -> bool {
        self.phase == Phase::Request && self.data.is_registered() && !self.invalidated.load(Relaxed)
    }

    /// Takes out the request of the block driver, which is not in flight any more.
    #[inline]
    fn take(&mut self) -> Option<IoRequest> {
        self.unmap();
        self.complete_withdrawn();
        let request = self.request.take()?;
        self.stats.ended(request.compared);
        Some(request)
    }

    /// Takes out a request without a response. Only once the connections of the
    /// link are destroyed: the data cannot be accessed any more, whatever keys are still valid.
    pub(super) fn take_unanswered(mut this: HeldOp<Self>) -> Option<IoRequest> {
        this.take()
    }
}

impl<C: RequestConn> HeldOp<RdmaRequest<C>> {
    /// Releases the message id, and completes the payload with `result`.
    fn complete(mut self, conn: &C, result: Result) {
        let request = self.take();
        // First, as the owner of the payload may use the message id again at once.
        drop(self);
        if let Some(request) = request {
            if let Err(e) = result {
                request.trace_error(&conn.path(), e);
            }
            request.payload.done(result);
        }
    }
}

impl<C: RequestConn> Operation for RdmaRequest<C> {
    type Context = C;

    fn completed(&self, qp: &QpRef<'_, C>, wc: &Wc) {
        if !wc.is_ok() && !wc.is_flush() {
            let (path, status) = (qp.context().path(), wc.status_name());
            pr_err_ratelimited!(path => "{path}: sending a request failed: {status}\n");
            qp.context().fail_link("sending a request failed");
        }
    }

    fn finish(mut op: HeldOp<Self>, qp: Option<&QpRef<'_, C>>, wc: Option<&Wc>) {
        let Some(qp) = qp else {
            // Teardown ended it, and takes the request out.
            return;
        };
        if qp.context().id() != op.conn {
            // It does not tell whether the send completed. As below.
            qp.context().fail_link("response over another connection");
            return;
        }
        if op.malformed.load(Relaxed) {
            // As below. The request is sent again.
            qp.context()
                .fail_link("response with other data than the request asked for");
            return;
        }
        if matches!(op.phase, Phase::Withdrawal | Phase::Sink) {
            return Self::withdrawal_finished(op, qp, wc);
        }
        if op.phase == Phase::Invalidation && wc.is_none_or(|wc| !wc.is_ok()) {
            // The link is lost. The key may still be valid: as below.
            return;
        }
        if op.needs_invalidation() {
            op.phase = Phase::Invalidation;
            let posted = qp.post_send_reserved(op, AwaitedEvents::Send, |req, chain| {
                req.data.build_invalidation(chain)
            });
            if let Err((op, _)) = posted {
                // The server could still write to the data. The request keeps it until
                // the link is shut down, which takes it out.
                drop(op);
                qp.context().fail_link("a key could not be invalidated");
            }
            return;
        }
        if op.data.is_registered() && op.phase == Phase::Request {
            // The server has invalidated the key.
            qp.release_reserved();
        }
        let result = match op.errno.load(Relaxed) {
            0 => Ok(()),
            // The result of a request that has failed already.
            _ if op.is_withdrawn() => Ok(()),
            errno => Err(Error::from_errno(errno)),
        };
        op.complete(qp.context(), result);
    }
}
