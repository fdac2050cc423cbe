// SPDX-License-Identifier: GPL-2.0-only

//! Connecting a path: all of its connections, the requests, and the exchange of INFO.
//!
//! A step that fails drops what the steps before it made.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    auth::KeyName,
    limits::{
        registrable_bytes,
        registration_units,
        QueueDepth, //
    },
    recv_window,
    send_queue_size::SendQueueSize,
    wire::{
        name::SessName,
        rtrs::{
            ConnAccept,
            ConnReq,
            ConnRsp,
            Uuid, //
        }, //
    }, //
};

use crate::{
    common::params,
    kernel_ext::{
        cpu,
        log::Plain,
        net::SockAddr, //
    },
    pr_err_ratelimited,
    pr_info_ratelimited,
    rdma::{
        cm::Interrupt,
        connection::Connection,
        connector::{
            ConnectError,
            Resolved, //
        },
        pd::Pd,
        qp::{
            PollContext,
            QpConfig, //
        },
        wr::MAX_DATA_SGES, //
    }, //
};

use super::{
    auth::{
        self,
        LinkAuth, //
    },
    conn::Conn,
    info,
    link::Link,
    link_state::LinkState,
    negotiated::{
        Negotiated,
        PathLimits, //
    },
    rdma_request::RequestConn as _,
    recv,
    request_table::RequestTable, //
};

/// Limit of each step of connecting, and of the exchange of INFO.
const TIMEOUT_MS: u32 = 30_000;

/// Messages in flight on the control connection, in each direction.
const CONTROL_DEPTH: u32 = 512;
const CONTROL_SENDS: SendQueueSize = SendQueueSize {
    wrs: CONTROL_DEPTH * 2,
    sges: 1,
};

/// The least send queue of a connection for I/O: some requests at once, of a header and data in
/// one segment.
const LEAST_SENDS: SendQueueSize = SendQueueSize { wrs: 64, sges: 2 };

/// Parameters of all connections of a path.
pub(super) struct ConnectParams<'a> {
    pub(super) session_name: SessName<'a>,
    pub(super) session_uuid: Uuid,
    pub(super) path_uuid: Uuid,
    /// The key that both sides must prove.
    pub(super) key: Option<KeyName>,
    pub(super) src: Option<&'a SockAddr>,
    pub(super) dst: &'a SockAddr,
    pub(super) link: Arc<LinkState>,
    /// Earlier attempts to connect this path.
    pub(super) recon_count: u16,
    /// Whether the server may make a new session for it.
    pub(super) first: bool,
    /// Connections for polled I/O.
    pub(super) nr_poll_queues: u32,
    /// Ends the attempt when another task raises it.
    pub(super) interrupt: &'a Interrupt,
}

/// Number of connections of a path.
#[derive(Clone, Copy)]
struct ConnCount {
    /// One for control, one for each CPU, and the polled ones, in this order.
    all: u16,
    polled: u16,
}

impl ConnCount {
    fn new(polled: u32) -> Result<Self> {
        let others = cpu::online().max(1).checked_add(1).ok_or(EINVAL)?;
        Ok(Self {
            all: u16::try_from(others.checked_add(polled).ok_or(EINVAL)?)?,
            polled: u16::try_from(polled)?,
        })
    }

    fn is_polled(&self, id: u16) -> bool {
        id >= self.all.saturating_sub(self.polled)
    }

    /// Whether requests may be eager, of which each connection has a limited number in flight.
    fn suffices_for_eager(&self) -> bool {
        let by_cpu = self.all.saturating_sub(self.polled).saturating_sub(1);
        recv_window::suffice(by_cpu, self.polled)
    }
}

/// Connects a path. `check_limits` refuses limits that do not fit the session.
pub(super) fn connect(
    params: &ConnectParams<'_>,
    check_limits: impl FnOnce(PathLimits) -> Result,
) -> Result<Link> {
    let count = ConnCount::new(params.nr_poll_queues)?;
    let mut auth = params.auth()?;
    let (control, accept) = params.connect_control(&count, auth.as_mut())?;
    let pd = control.pd().clone();
    let negotiated = Negotiated::new(&accept, count.all);
    // Segments can be long: the size of a region is the memory that they cover.
    let units = registration_units(accept.max_io_size()).min(pd.attrs().max_fast_reg_pages);
    let limits = PathLimits {
        depth: negotiated.depth.get(),
        max_io_size: accept.max_io_size().min(registrable_bytes(units)),
    };
    check_limits(limits)?;

    let requests = RequestTable::new(&pd, negotiated, units, params.link.stats())?;
    // A key is one of the protection domain: while the control connection has a queue pair, the
    // server could use those of requests with it.
    control.qp().keep(requests.requests())?;
    let mut connections = KVec::with_capacity(usize::from(count.all), GFP_KERNEL)?;
    connections.push(control, GFP_KERNEL)?;
    let wanted = send_queue(&pd, negotiated.depth);
    let mut send = wanted;
    for id in 1..count.all {
        let connection = params.connect_io(&pd, id, &count, send, &requests, auth.as_mut())?;
        send = connection.qp().send_queue();
        connection.qp().keep(requests.requests())?;
        connections.push(connection, GFP_KERNEL)?;
    }

    if send != wanted {
        let (link, device) = (&params.link, pd.device_name());
        pr_info_ratelimited!(link =>
            "{link}: RDMA device {device} has no space for send queues of {} requests of {} segments, using {} of {}\n",
            wanted.wrs, wanted.sges, send.wrs, send.sges
        );
    }

    let (control, io) = connections.split_first().ok_or(EINVAL)?;
    let proof = auth
        .map(|auth| auth.prove(params.session_name))
        .transpose()?;
    let response = info::post_receive(control, &requests, proof.is_some())?;
    recv::post_receives(control, CONTROL_DEPTH)?;
    for connection in io {
        let receives = recv_depth(&pd, &negotiated);
        match negotiated.is_eager() {
            true => recv::post_data_receives(connection, receives)?,
            false => recv::post_receives(connection, receives)?,
        }
    }
    let limit = Delta::from_millis(i64::from(TIMEOUT_MS));
    let link = &params.link;
    match (proof, response) {
        (Some(proof), Some(response)) => {
            info::exchange_proofs(control, link, &requests, proof, &response, limit)?
        }
        _ => info::exchange(control, link, &requests, params.session_name, limit)?,
    }
    Link::new(
        params.link.clone(),
        requests,
        limits,
        connections,
        usize::from(count.polled),
    )
}

/// Returns the send queue that a connection for I/O should have.
fn send_queue(pd: &Pd, depth: QueueDepth) -> SendQueueSize {
    let attrs = pd.attrs();
    SendQueueSize {
        // A registration, a request, perhaps its inline immediate, an invalidation.
        wrs: u32::from(depth.get())
            .saturating_mul(if attrs.immediates.is_inline() { 4 } else { 3 })
            .min(attrs.max_qp_wr.saturating_sub(1)),
        sges: attrs.max_send_sge.min(MAX_DATA_SGES as u32 + 1).max(2),
    }
}

/// Receives of a connection for I/O: for each request a response and, unless responses are
/// short, the message before it that invalidates. With eager requests, one more than are in flight.
fn recv_depth(pd: &Pd, negotiated: &Negotiated) -> u32 {
    let depth = negotiated.depth.get();
    match negotiated.window {
        Some(window) => u32::from(window.min(depth)).saturating_add(1),
        None => u32::from(depth)
            .saturating_mul(2)
            .min(pd.attrs().max_qp_wr.saturating_sub(1)),
    }
}

impl ConnectParams<'_> {
    /// Looks the key up, if there is one.
    fn auth(&self) -> Result<Option<LinkAuth>> {
        let key = self.key.as_ref();
        key.map(|key| LinkAuth::new(key, self.session_name, self.dst))
            .transpose()
    }

    /// Whether to ask for eager requests.
    fn offers_eager(&self, pd: &Pd, count: &ConnCount) -> bool {
        params::eager_requests() && pd.attrs().sends_eager() && count.suffices_for_eager()
    }

    /// Makes the control connection, by which the server tells its limits.
    fn connect_control(
        &self,
        count: &ConnCount,
        auth: Option<&mut LinkAuth>,
    ) -> Result<(Connection<Conn>, ConnAccept)> {
        let resolved = Resolved::new(self.src, self.dst, TIMEOUT_MS, self.interrupt)?;
        let pd = Pd::new(&resolved.device()?)?;
        let attrs = pd.attrs();
        attrs.check_client().map_err(|lack| {
            let (name, device, lack) = (Plain(self.session_name), pd.device_name(), Plain(lack));
            pr_err!("{name}: RDMA device {device} {lack}\n");
            EOPNOTSUPP
        })?;
        let queues = QpConfig {
            send: CONTROL_SENDS,
            least_send: CONTROL_SENDS,
            reserve: 0,
            recv: CONTROL_DEPTH + 1,
            recv_sges: 1,
            vector: 0,
            poll: PollContext::Softirq,
            inline_imm: attrs.immediates.is_inline(),
        };
        let context = Conn::control(&self.link)?;
        self.establish(resolved, &pd, context, count, &queues, auth)
    }

    /// Makes a connection for I/O, with a send queue of at most size `send`.
    fn connect_io(
        &self,
        pd: &Arc<Pd>,
        id: u16,
        count: &ConnCount,
        send: SendQueueSize,
        requests: &Arc<RequestTable<Conn>>,
        auth: Option<&mut LinkAuth>,
    ) -> Result<Connection<Conn>> {
        let attrs = pd.attrs();
        let queues = QpConfig {
            send,
            least_send: LEAST_SENDS,
            reserve: 0,
            recv: recv_depth(pd, requests.negotiated()),
            recv_sges: 1,
            vector: u32::from(id).saturating_sub(1),
            poll: match count.is_polled(id) {
                true => PollContext::Caller,
                false => PollContext::Softirq,
            },
            inline_imm: attrs.immediates.is_inline(),
        };
        let resolved = Resolved::new(self.src, self.dst, TIMEOUT_MS, self.interrupt)?;
        let context = Conn::io(&self.link, id, count.is_polled(id), requests)?;
        let (connection, _) = self.establish(resolved, pd, context, count, &queues, auth)?;
        Ok(connection)
    }

    /// Connects and parses the response.
    fn establish(
        &self,
        resolved: Resolved,
        pd: &Arc<Pd>,
        context: Arc<Conn>,
        count: &ConnCount,
        queues: &QpConfig,
        link_auth: Option<&mut LinkAuth>,
    ) -> Result<(Connection<Conn>, ConnAccept)> {
        let offers_eager = self.offers_eager(pd, count);
        let request = ConnReq::new(
            context.id(),
            count.all,
            self.recon_count,
            self.path_uuid,
            self.session_uuid,
            self.first,
        )
        .map_err(|_| EINVAL)?
        .with_name(self.session_name)
        .with_inline_imm(queues.inline_imm)
        .with_short_responses(true)
        .with_eager(offers_eager)
        .with_auth(link_auth.is_some());
        let request = request.encode();
        let (connection, private) =
            match resolved.connect(pd, context, queues, &request, TIMEOUT_MS, self.interrupt) {
                Ok((connection, private)) => (Ok(connection), private),
                Err(ConnectError::Rejected(private, reason)) => (Err(reason), private),
                Err(ConnectError::Other(e)) => return Err(e),
            };
        match (ConnRsp::parse(private.as_slice()), connection) {
            (Ok(ConnRsp::Reject(errno)), _) => Err(Error::from_errno(errno.saturating_neg())),
            // Not from an RTRS server.
            (_, Err(reason)) => {
                let errno = reason.errno();
                let (name, reason) = (Plain(self.session_name), Plain(reason));
                pr_err_ratelimited!(self.session_name => "{name}: {}: connection rejected: {reason}\n", self.dst);
                Err(Error::from_errno(-errno))
            }
            (Ok(ConnRsp::Accept(accept)), Ok(connection)) => {
                if accept.inline_imm() != queues.inline_imm {
                    let device = pd.device_name();
                    pr_err!(
                        "{}: the server needs immediates, which RDMA device {device} lacks\n",
                        self.dst
                    );
                    return Err(EOPNOTSUPP);
                }
                if accept.eager() && !offers_eager {
                    pr_err!(
                        "{}: the server wants eager requests, which were not offered\n",
                        self.dst
                    );
                    return Err(EPROTO);
                }
                auth::agree(link_auth.is_some(), &accept, self.dst)?;
                if let Some(link_auth) = link_auth {
                    link_auth.add(&request, private.as_slice())?;
                }
                Ok((connection, accept))
            }
            (Err(e), Ok(_)) => {
                let e = Plain(e);
                pr_err!("{}: the server's response was refused: {e}\n", self.dst);
                Err(EPROTO)
            }
        }
    }
}
