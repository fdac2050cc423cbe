// SPDX-License-Identifier: GPL-2.0-only

//! Paths: the connections between two addresses that belong together, and the
//! memory behind them.

use core::sync::atomic::AtomicU16;

use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::revocable::Revocable;
use kernel::sync::barrier::smp_mb;
use kernel::sync::barrier::Full;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SetOnce;
use kernel::time::Instant;
use kernel::time::Monotonic;
use rnbd_proto::heartbeat::Heartbeat;
use rnbd_proto::path_state::ServerState;
use rnbd_proto::path_state::StateCell;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::ConnReq;

use super::chunk;
use super::chunk::ChunkSlot;
use super::conn::Conn;
use super::dispatch_queue::DispatchQueue;
use super::listen::Shared;
use super::path_dir::PathDir;
use super::service::SessionService;
use super::session::Session;
use super::setup::Setup;
use super::stats::Stats;
use crate::impl_has_owned_work;
use crate::kernel_ext::completion::Completion;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Side;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWork;
use crate::new_owned_work;
use crate::pr_err_ratelimited;
use crate::pr_info_ratelimited;
use crate::rdma::connection::Connection;
use crate::rdma::pd::Pd;
use crate::rdma::qp::QpRef;

pub(super) const TICK: u64 = 0;
pub(super) const TEARDOWN: u64 = 1;

/// The two ends of a path.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    pub(super) src: SockAddr,
    pub(super) dst: SockAddr,
}

impl Endpoints {
    /// The address of the client.
    pub(super) fn peer(&self) -> SockAddr {
        self.dst.with_port(0)
    }

    /// Whether they are the same machines' addresses, whatever the ports.
    pub(super) fn same_hosts(&self, other: &Self) -> bool {
        self.src.with_port(0) == other.src.with_port(0)
            && self.dst.with_port(0) == other.dst.with_port(0)
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}@{}", self.src, self.dst))
    }
}

/// A path.
///
/// Each of its connections refers to it and it to them; its teardown task,
/// which every path ends with, takes the connections out.
#[pin_data]
pub(super) struct Path {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    /// The request of its first connection.
    req: ConnReq,
    /// What is offered to its client.
    pub(super) offer: rtrs::ConnAccept,
    ends: Endpoints,
    pub(super) first_vector: u32,
    /// When its client asked for it.
    pub(super) began: Instant<Monotonic>,
    pub(super) pd: Arc<Pd>,
    pub(super) state: StateCell<ServerState>,
    /// By id. Revoked, which drains and destroys them, by the teardown.
    #[pin]
    pub(super) links: Revocable<KVec<SetOnce<Connection<Conn>>>>,
    /// By id, once the client asked for them.
    pub(super) slots: SetOnce<KVec<ChunkSlot>>,
    /// By id of the connection, once all are there: what a client asks for is a number,
    /// and these are memory.
    inboxes: SetOnce<KVec<Arc<DispatchQueue>>>,
    pub(super) setup: Setup,
    /// There once the session knows that the path is up.
    pub(super) service: SetOnce<Arc<dyn SessionService>>,
    pub(super) heartbeat: Heartbeat,
    pub(super) stats: Stats,
    /// There while sysfs shows the path.
    #[pin]
    pub(super) dir: Mutex<Option<PathDir>>,
    /// Held while a connection is added, and not while one is taken down.
    #[pin]
    pub(super) joining: Mutex<()>,
    /// Connections that are there or are just being accepted.
    pub(super) coming: AtomicU16,
    /// Complete when all connections are in `links`, or never will be.
    #[pin]
    pub(super) gathered: Completion,
    /// Rung by requests that end while the path is being torn down.
    #[pin]
    pub(super) returned: Completion,
    #[pin]
    tick: OwnedWork<Self, TICK>,
    #[pin]
    teardown: OwnedWork<Self, TEARDOWN>,
}

impl_has_owned_work! {
    impl HasOwnedWork<TICK> for Path { self.tick }
    impl HasOwnedWork<TEARDOWN> for Path { self.teardown }
}

impl Path {
    /// A path without connections, as `req` asks for. Those that it gets take completion
    /// vectors in turn, beginning with `first_vector`.
    pub(super) fn new(
        shared: &Arc<Shared>,
        session: Arc<Session>,
        pd: Arc<Pd>,
        req: &ConnReq,
        ends: Endpoints,
        first_vector: u32,
    ) -> Result<Arc<Self>> {
        let mut links = KVec::with_capacity(req.count().into(), GFP_KERNEL)?;
        for _ in 0..req.count() {
            links.push(SetOnce::new(), GFP_KERNEL)?;
        }
        let queue = &shared.queue;
        let offer = shared.offer.with_inline_imm(req.inline_imm());
        let offer = offer.with_short_responses(req.short_responses());
        Arc::pin_init(
            try_pin_init!(Self {
                shared: shared.clone(),
                session,
                req: *req,
                offer,
                ends,
                first_vector,
                began: Instant::now(),
                pd,
                state: StateCell::new(),
                links <- Revocable::new(links),
                slots: SetOnce::new(),
                inboxes: SetOnce::new(),
                setup: Setup::new(),
                service: SetOnce::new(),
                heartbeat: Heartbeat::new(),
                stats: Stats::new()?,
                dir <- new_mutex!(None, "rtrs_path_dir"),
                joining <- new_mutex!((), "rtrs_path_joining"),
                coming: AtomicU16::new(0),
                gathered <- Completion::new(),
                returned <- Completion::new(),
                tick <- new_owned_work!(queue.clone(), "rtrs_server_tick"),
                teardown <- new_owned_work!(queue.clone(), "rtrs_server_teardown"),
            }),
            GFP_KERNEL,
        )
    }

    /// The request that it was made for.
    pub(super) fn req(&self) -> &ConnReq {
        &self.req
    }

    /// Its addresses.
    pub(super) fn ends(&self) -> &Endpoints {
        &self.ends
    }

    /// Where requests go that came by connection `id`.
    pub(super) fn inbox(&self, id: u16) -> Option<&Arc<DispatchQueue>> {
        self.inboxes.as_ref()?.get(usize::from(id))
    }

    /// Makes the inboxes, when all connections are there.
    pub(super) fn make_inboxes(&self) -> Result {
        let mut inboxes = KVec::with_capacity(self.count().into(), GFP_KERNEL)?;
        for _ in 0..self.count() {
            inboxes.push(DispatchQueue::new(&self.shared)?, GFP_KERNEL)?;
        }
        match self.inboxes.populate(inboxes) {
            true => Ok(()),
            false => Err(EPROTO),
        }
    }

    /// Number of connections that it is to have.
    pub(super) fn count(&self) -> u16 {
        self.req.count()
    }

    /// Bytes of the memory of its chunks, as far as it is allocated.
    pub(super) fn pinned(&self) -> usize {
        let chunks = self.slots.as_ref().map_or(0, |slots| slots.len());
        chunks.saturating_mul(chunk::memory(self.shared.limits))
    }

    /// Whether it is being taken down.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.state.get(), ServerState::Closing | ServerState::Closed)
    }

    /// Changes the state, if the rules allow that.
    pub(super) fn enter(&self, next: ServerState) -> bool {
        let changed = self.state.change(next).is_ok();
        if changed {
            trace::path(Side::Server, self, &Plain(format_args!("{next:?}")));
        }
        changed
    }

    /// Takes it down because of what the peer or the hardware did. From any
    /// context; the work is done later, and only once.
    pub(super) fn fail(self: &Arc<Self>, why: fmt::Arguments<'_>) {
        if self.enter(ServerState::Closing) {
            pr_err_ratelimited!("{self}: closing: {why}\n");
            work::schedule::<_, TEARDOWN>(self);
        }
    }

    /// As [`Path::fail`], for a reason that nobody is to blame for.
    pub(super) fn close(self: &Arc<Self>, why: &str) {
        if self.enter(ServerState::Closing) {
            pr_info_ratelimited!("{self}: closing: {why}\n");
            work::schedule::<_, TEARDOWN>(self);
        }
    }

    /// Calls `f`, which must not sleep, with the queue pair of connection `id`.
    ///
    /// `None`, and `f` is dropped, when there is no such connection or the
    /// teardown has begun to take them down.
    pub(super) fn with_qp<R>(&self, id: u16, f: impl FnOnce(&QpRef<'_, Conn>) -> R) -> Option<R> {
        let links = self.links.try_access()?;
        let link = links.get(usize::from(id))?.as_ref()?;
        Some(f(&link.qp()))
    }

    /// The context of connection `id`, as [`Path::with_qp`].
    pub(super) fn conn(&self, id: u16) -> Option<Arc<Conn>> {
        self.with_qp(id, |qp| qp.context().clone())
    }

    /// Whether connection `id` is there.
    pub(super) fn has_link(&self, id: u16) -> bool {
        self.with_qp(id, |_| ()).is_some()
    }

    /// The port of the device that it uses, from 1. `None` when the connection
    /// for control is gone.
    pub(super) fn port(&self) -> Option<u32> {
        let links = self.links.try_access()?;
        let port = links.first()?.as_ref()?.port();
        Some(port)
    }

    /// Takes in the connection `id`; gives it back when its place is taken.
    pub(super) fn add_link(
        &self,
        id: u16,
        link: Connection<Conn>,
    ) -> core::result::Result<(), Connection<Conn>> {
        let Some(links) = self.links.try_access() else {
            return Err(link);
        };
        match links.get(usize::from(id)) {
            Some(place) if place.as_ref().is_none() => {
                place.populate(link);
                Ok(())
            }
            _ => Err(link),
        }
    }

    /// A chunk was given up without being posted. In any context, but in an RCU
    /// read section or in an inbox's task, as the path may go from then on.
    pub(super) fn chunk_returned(&self) {
        // Either the teardown sees the chunk, or this sees the teardown.
        smp_mb(Full);
        if self.is_closing() {
            self.returned.complete();
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session.name().to_bytes() {
            [] => self.ends.fmt(f),
            name => f.write_fmt(fmt!("{} ({})", self.ends, Plain(name.escape_ascii()))),
        }
    }
}
