// SPDX-License-Identifier: GPL-2.0-only

//! A path: its connections, and what they share.

use super::request::Req;
use super::session::Watch;
use crate::rdma::cm::CmEvent;
use crate::rdma::cm::CmEvents;
use crate::rdma::connection::Connection;
use crate::rdma::op::Op;
use crate::support::clock;
use crate::support::completion::Completion;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::Release;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::SetOnce;
use rnbd_proto::heartbeat::Beat;
use rnbd_proto::heartbeat::Heartbeat;
use rnbd_proto::imm::Imm;
use rnbd_proto::imm::IoReqLayout;

/// A chunk of the server's memory that requests are written to.
pub(super) struct Chunk {
    /// Its address for the server's device.
    pub(super) addr: u64,
    /// The key, which the server may renew with every response.
    pub(super) rkey: AtomicU32,
}

/// What the server said about itself, and what was made from it.
pub(super) struct Table {
    /// How identifiers and offsets are told to the server.
    pub(super) layout: IoReqLayout,
    /// The requests, by message id.
    pub(super) requests: KVec<Arc<Op<Req>>>,
}

/// What all connections of a path share. It does not own them, so that their
/// completions can refer to it.
#[pin_data]
pub(super) struct Shared {
    /// Cleared for good when the path is lost or closed.
    alive: AtomicBool,
    /// Who is told that the path is lost.
    watch: Arc<Watch>,
    pub(super) heartbeat: Heartbeat,
    /// Set when the first connection is made.
    pub(super) table: SetOnce<Table>,
    /// Set when the server told where its chunks are.
    pub(super) chunks: SetOnce<KVec<Chunk>>,
    /// Complete when `chunks` is set, or never will be.
    #[pin]
    pub(super) informed: Completion,
}

impl Shared {
    pub(super) fn new(watch: Arc<Watch>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                alive: AtomicBool::new(true),
                watch,
                heartbeat: Heartbeat::new(),
                table: SetOnce::new(),
                chunks: SetOnce::new(),
                informed <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    /// Ends the path without telling anybody: the owner is closing it.
    pub(super) fn retire(&self) -> bool {
        self.alive.swap(false, Release)
    }

    /// The path is of no use any more, because of `why`. In any context.
    pub(super) fn fail(&self, why: &str) {
        if self.retire() {
            self.watch.report(why);
            self.informed.complete_all();
        }
    }
}

/// The context of one connection.
pub(super) struct Conn {
    pub(super) shared: Arc<Shared>,
    /// Number of the connection; 0 is for control.
    pub(super) id: u16,
    /// The key that the server invalidated last.
    ///
    /// The server invalidates and answers in one chain, so on one connection
    /// the claim to have done so directly follows the deed.
    pub(super) invalidated: AtomicU32,
}

impl Conn {
    pub(super) fn new(shared: &Arc<Shared>, id: u16) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                shared: shared.clone(),
                id,
                invalidated: AtomicU32::new(0),
            },
            GFP_KERNEL,
        )?)
    }
}

impl CmEvents for Conn {
    fn event(&self, event: CmEvent) {
        match event {
            CmEvent::Established => {}
            CmEvent::Disconnected => self.shared.fail("the server disconnected"),
            CmEvent::AddrChange => self.shared.fail("the local address moved"),
            CmEvent::DeviceRemoval => self.shared.fail("the RDMA device was removed"),
        }
    }
}

/// A connected path.
pub(super) struct Path {
    pub(super) shared: Arc<Shared>,
    /// The control connection, then those for I/O (at least one).
    pub(super) connections: KVec<Connection<Conn>>,
    /// Segments that one send work request may name beside a header.
    pub(super) data_sges: usize,
}

impl Path {
    /// The connection for I/O submitted on `cpu`.
    pub(super) fn connection_for(&self, cpu: u32) -> Option<&Connection<Conn>> {
        let (_control, io) = self.connections.split_first()?;
        io.get((cpu as usize).checked_rem(io.len())?)
    }

    /// One tick of the heartbeat; false when there are to be no more.
    pub(super) fn beat(&self) -> bool {
        if !self.shared.is_alive() {
            return false;
        }
        match self.shared.heartbeat.tick(clock::now_ns()) {
            Beat::Wait => true,
            Beat::Dead => {
                self.shared.fail("no heartbeat from the server");
                false
            }
            Beat::Send => {
                let sent = match self.connections.first() {
                    Some(control) => control.qp().post_imm(Imm::Heartbeat.encode()),
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
    /// and no completion runs. Sleeps.
    pub(super) fn shut_down(&self) {
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
        for request in &table.requests {
            // In the place of the server, which has no way to do it any more.
            request.answer(None, |req| req.record(ECONNABORTED.to_errno(), false));
            if let Some(idle) = request.begin() {
                Req::give_up(idle);
            }
        }
    }
}

/// The interval of heartbeats.
pub(super) fn beat_interval() -> kernel::time::Delta {
    kernel::time::Delta::from_millis(i64::from(rnbd_proto::heartbeat::INTERVAL_MS))
}

/// Loads a key for use in a work request; the response that brought it was
/// handled before the request could be made.
pub(super) fn current_rkey(chunk: &Chunk) -> u32 {
    chunk.rkey.load(Relaxed)
}
