// SPDX-License-Identifier: GPL-2.0-only

//! A link: one life of a path, from being connected to being lost.

use super::conn::Conn;
use super::io_request::IoRequest;
use super::io_request::Permit;
use super::io_request::Queue;
use super::path::Path;
use super::rdma_request::RdmaRequest;
use super::stats::Stats;
use crate::kernel_ext::clock;
use crate::kernel_ext::completion::Completion;
use crate::kernel_ext::cpu;
use crate::pr_warn_ratelimited;
use crate::rdma::connection::Connection;
use crate::rdma::op_set::OpSet;
use crate::rdma::qp::Progress;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::Release;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::SetOnce;
use rnbd_proto::async_event::EventCount;
use rnbd_proto::heartbeat::Heartbeat;
use rnbd_proto::heartbeat::HeartbeatAction;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::IoReqLayout;
use rnbd_proto::session_state::Epoch;
use rnbd_proto::wire::rtrs::next_key;
use rnbd_proto::wire::rtrs::NextKey;

/// What a path can carry: what the server offers, as far as the device here can.
#[derive(Clone, Copy)]
pub(super) struct PathLimits {
    /// Requests in flight, of the whole session.
    pub(super) depth: u16,
    /// The most bytes of data in one request.
    pub(super) max_io_size: u32,
}

/// A chunk of the server's memory that requests are written to.
pub(super) struct RemoteBuf {
    /// Its address for the server's device.
    pub(super) addr: u64,
    /// The key, which the server may renew with every response.
    rkey: AtomicU32,
}

impl RemoteBuf {
    pub(super) fn new(addr: u64, rkey: u32) -> Self {
        Self {
            addr,
            rkey: AtomicU32::new(rkey),
        }
    }

    /// The key for a work request. Who makes it was told of the end of the last request
    /// here, after the key was renewed.
    pub(super) fn rkey(&self) -> u32 {
        self.rkey.load(Relaxed)
    }

    /// The server renewed the key.
    pub(super) fn renew(&self, rkey: u32) {
        self.rkey.store(rkey, Relaxed);
    }

    /// The server renewed the key by the rule that both sides know. Only one answer is
    /// handled at a time.
    pub(super) fn step(&self) {
        self.renew(next_key(self.rkey()));
    }
}

/// What the server said about itself, and what was made from it.
pub(super) struct Negotiated {
    /// How identifiers and offsets are told to the server.
    pub(super) layout: IoReqLayout,
    /// How the next key of a chunk is learnt.
    pub(super) next_key: NextKey,
    /// Whether an answer is one RDMA write, which leaves keys of the client alone.
    pub(super) short_responses: bool,
    /// The requests, by message id.
    pub(super) requests: Arc<OpSet<RdmaRequest>>,
}

/// What all connections of a link share. It does not own them, so that their
/// completions can refer to it.
#[pin_data]
pub(super) struct Shared {
    /// Cleared for good when the link is lost or closed.
    alive: AtomicBool,
    /// [`Epoch::as_nonzero`] of the time in which it came up, or 0.
    epoch: AtomicU64,
    /// Who is told that the link is lost.
    path: Arc<Path>,
    pub(super) stats: Arc<Stats>,
    pub(super) heartbeat: Heartbeat,
    /// Set when the first connection is made.
    pub(super) table: SetOnce<Negotiated>,
    /// Set when the server told where its chunks are.
    pub(super) chunks: SetOnce<KVec<RemoteBuf>>,
    /// Complete when `chunks` is set, or never will be.
    #[pin]
    pub(super) informed: Completion,
}

impl Shared {
    pub(super) fn new(path: &Arc<Path>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                alive: AtomicBool::new(true),
                epoch: AtomicU64::new(0),
                path: path.clone(),
                stats: path.stats.clone(),
                heartbeat: Heartbeat::new(),
                table: SetOnce::new(),
                chunks: SetOnce::new(),
                informed <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// The path whose link this is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    /// It is up, in this time.
    pub(super) fn came_up(&self, epoch: Epoch) {
        self.epoch.store(epoch.as_nonzero(), Release);
    }

    /// Whether it is alive and may carry I/O, the server knowing the devices in the time
    /// `known`. Else a request that was on its way when all paths were lost could get to
    /// a server that knows other devices by these names.
    pub(super) fn carries_io(&self, known: u64) -> bool {
        self.is_alive() && known != 0 && self.epoch.load(Acquire) == known
    }

    /// Ends the link without telling anybody: the path is taking it down, or
    /// gives up connecting it.
    pub(super) fn retire(&self) -> bool {
        let first = self.alive.swap(false, Release);
        self.informed.complete_all();
        first
    }

    /// The link is of no use any more, because of `why`. In any context.
    pub(super) fn fail(&self, why: &str) {
        if self.retire() {
            self.path.link_failed(why);
        }
    }
}

/// A connected path.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    /// What it can carry.
    pub(super) offer: PathLimits,
    /// The control connection, those for the CPUs (at least one), and the polled
    /// ones.
    pub(super) connections: KVec<Connection<Conn>>,
    /// How many are polled.
    pub(super) polled: usize,
    /// Segments that one send work request may name beside a header.
    pub(super) data_sges: usize,
}

impl Link {
    /// The connections for I/O by CPU.
    fn by_cpu(&self) -> &[Connection<Conn>] {
        let end = self.connections.len().saturating_sub(self.polled);
        self.connections.get(1..end).unwrap_or_default()
    }

    /// The connection for polled I/O of this number.
    fn polled(&self, number: u32) -> Option<&Connection<Conn>> {
        let first = self.connections.len().checked_sub(self.polled)?;
        self.connections.get(first..)?.get(number as usize)
    }

    /// The connection for I/O submitted on this CPU to `queue`.
    fn connection(&self, queue: Queue) -> Option<&Connection<Conn>> {
        match queue {
            Queue::Cpu => {
                let by_cpu = self.by_cpu();
                by_cpu.get((cpu::current() as usize).checked_rem(by_cpu.len())?)
            }
            Queue::Polled(number) => self.polled(number),
        }
    }

    /// Handles what has come in for a polled queue; answers how much.
    pub(super) fn poll(&self, number: u32) -> u32 {
        self.polled(number).map_or(0, Connection::poll)
    }

    /// Sends a request, or gives it back. Does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when the link is lost, `EBUSY` when the permit is in use,
    /// `EINVAL` for a wrong one, `ENOMEM` when the device has no room.
    pub(super) fn submit(&self, order: IoRequest) -> core::result::Result<(), (IoRequest, Error)> {
        let shared = &self.shared;
        let (Some(table), Some(chunks), Some(connection)) = (
            shared.table.as_ref(),
            shared.chunks.as_ref(),
            self.connection(order.queue),
        ) else {
            return Err((order, ENOTCONN));
        };
        if !shared.is_alive() {
            return Err((order, ENOTCONN));
        }
        let index = order.permit.index();
        let (Some(request), Some(chunk)) = (table.requests.get(index), chunks.get(index)) else {
            return Err((order, EINVAL));
        };
        let Some(idle) = request.begin() else {
            return Err((order, EBUSY));
        };
        RdmaRequest::submit(idle, &connection.qp(), table, chunk, self.data_sges, order)
    }

    /// The request of `permit` should have been answered by now; see
    /// [`Session::overdue`](super::Session::overdue).
    pub(super) fn overdue(&self, permit: Permit) -> Option<u32> {
        let requests = &self.shared.table.as_ref()?.requests;
        requests.get(permit.index())?.count_timeout()
    }

    /// One tick of the heartbeat; false when there are to be no more.
    pub(super) fn beat(&self) -> bool {
        if !self.shared.is_alive() {
            return false;
        }
        for connection in &self.connections {
            match connection.qp().nudge() {
                Progress::Fine => {}
                Progress::Nudged => {
                    let (path, id) = (self.shared.path(), connection.context().id);
                    pr_warn_ratelimited!("{path}: connection {id} made no progress, nudged\n");
                }
                Progress::Broken => {
                    self.shared.fail("the device lost a request");
                    return false;
                }
            }
        }
        match self.shared.heartbeat.tick(clock::now_ns()) {
            HeartbeatAction::Wait => true,
            HeartbeatAction::Dead => {
                self.shared.fail("no heartbeat from the server");
                false
            }
            HeartbeatAction::Send => {
                let sent = match self.connections.first() {
                    Some(control) => control
                        .qp()
                        .post_imm(Imm::Heartbeat(EventCount::NONE).encode()),
                    None => Err(ENOTCONN),
                };
                if sent.is_err() {
                    self.shared.fail("a heartbeat could not be sent");
                }
                sent.is_ok()
            }
        }
    }

    /// Ends everything: after this nothing is in flight, nothing can be posted,
    /// and no completion runs. What was not answered is given to `rest`. Sleeps.
    pub(super) fn shut_down(&self, mut rest: impl FnMut(IoRequest)) {
        self.shared.retire();
        for connection in &self.connections {
            connection.disconnect();
        }
        for connection in &self.connections {
            connection.drain();
        }
        let Some(table) = self.shared.table.as_ref() else {
            return;
        };
        for request in table.requests.iter() {
            // In the place of the server, which has no way to do it any more.
            request.record_response(None, |_| ());
            let Some(idle) = request.begin() else {
                continue;
            };
            if let Some(order) = RdmaRequest::salvage(idle) {
                rest(order);
            }
        }
    }
}

/// The interval of heartbeats.
pub(super) fn beat_interval() -> kernel::time::Delta {
    kernel::time::Delta::from_millis(i64::from(rnbd_proto::heartbeat::INTERVAL_MS))
}
