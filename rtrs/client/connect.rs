// SPDX-License-Identifier: GPL-2.0-only

//! Connecting a path: all connections, tables, and the exchange of INFO.
//!
//! One straight line; whatever it made so far goes when it fails on the way.

use super::conn::Conn;
use super::link::Link;
use super::link::Negotiated;
use super::link::PathLimits;
use super::link::Shared;
use super::rdma_request::RdmaRequest;
use super::recv;
use super::recv::InfoReceive;
use super::recv::InfoSend;
use super::recv::Receive;
use super::recv::MESSAGE_SIZE;
use crate::kernel_ext::cpu;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::rdma::cm::Interrupt;
use crate::rdma::connection::Connection;
use crate::rdma::connector::ConnectError;
use crate::rdma::connector::Resolved;
use crate::rdma::dma::DmaBuf;
use crate::rdma::dma::DmaDir;
use crate::rdma::op::Op;
use crate::rdma::op_set::OpSet;
use crate::rdma::pd::Pd;
use crate::rdma::qp::PollContext;
use crate::rdma::qp::QpConfig;
use crate::rdma::wr::MAX_DATA_SGES;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::limits::registrable_bytes;
use rnbd_proto::limits::registration_units;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rtrs::info_rsp_size;
use rnbd_proto::wire::rtrs::ConnAccept;
use rnbd_proto::wire::rtrs::ConnReq;
use rnbd_proto::wire::rtrs::ConnRsp;
use rnbd_proto::wire::rtrs::InfoReq;
use rnbd_proto::wire::rtrs::Uuid;
use rnbd_proto::wire::rtrs::INFO_REQ_SIZE;

/// For each step of connecting, and for the exchange of INFO.
const TIMEOUT_MS: u32 = 30_000;

/// Messages that the control connection can have under way in each direction.
const CONTROL_DEPTH: u32 = 512;

/// What all connections of a path have in common.
pub(super) struct Plan<'a> {
    /// Name of the session.
    pub(super) name: SessName<'a>,
    pub(super) src: Option<&'a SockAddr>,
    pub(super) dst: &'a SockAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) path: Uuid,
    pub(super) session: Uuid,
    /// Times that this path was connected before.
    pub(super) lives: u16,
    /// Whether the server may make a new session for it.
    pub(super) first: bool,
    /// Connections for polled I/O.
    pub(super) polled: u32,
    /// Ends the attempt from elsewhere.
    pub(super) interrupt: &'a Interrupt,
}

/// Connections of a path.
struct Count {
    /// One for control, one for each CPU, and the polled ones.
    all: u16,
    polled: u16,
}

impl Count {
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
}

/// Connects as planned. `fits` says whether the session can do with what the path
/// offers.
pub(super) fn connect(plan: &Plan<'_>, fits: impl FnOnce(PathLimits) -> Result) -> Result<Link> {
    let count = Count::new(plan.polled)?;
    let (control, accept) = plan.control(&count)?;
    let pd = control.pd().clone();
    let attrs = pd.attrs();
    let depth = accept.queue_depth();
    // Segments can be long: what counts for a region is the memory that they cover.
    let units = registration_units(accept.max_io_size()).min(attrs.max_fast_reg_pages);
    let offer = PathLimits {
        depth: depth.get(),
        max_io_size: accept.max_io_size().min(registrable_bytes(units)),
    };
    fits(offer)?;

    let mut requests = KVec::with_capacity(usize::from(depth.get()), GFP_KERNEL)?;
    for id in depth.buffers() {
        let request = RdmaRequest::new(&pd, id, units, plan.shared.stats.clone())?;
        requests.push(request, GFP_KERNEL)?;
    }
    let requests = OpSet::new(requests)?;
    plan.shared.table.populate(Negotiated {
        layout: accept.layout(),
        next_key: accept.next_key(),
        short_responses: accept.short_responses(),
        requests: requests.clone(),
    });

    let mut connections = KVec::with_capacity(usize::from(count.all), GFP_KERNEL)?;
    connections.push(control, GFP_KERNEL)?;
    for id in 1..count.all {
        let connection = plan.io(&pd, id, &count, &accept)?;
        connection.qp().keep(&requests);
        connections.push(connection, GFP_KERNEL)?;
    }

    exchange_info(&plan.shared, &connections, &accept, plan.name)?;
    let data_sges = (attrs.max_send_sge as usize)
        .saturating_sub(1)
        .min(MAX_DATA_SGES);
    Ok(Link {
        shared: plan.shared.clone(),
        offer,
        connections,
        polled: usize::from(count.polled),
        data_sges,
    })
}

impl Plan<'_> {
    /// Makes the first connection, by which the server tells its limits.
    fn control(&self, count: &Count) -> Result<(Connection<Conn>, ConnAccept)> {
        let way = Resolved::new(self.src, self.dst, TIMEOUT_MS, self.interrupt)?;
        let pd = Pd::new(&way.device()?)?;
        let attrs = pd.attrs();
        attrs.check_client().map_err(|lack| {
            let (name, device, lack) = (Plain(self.name), pd.device_name(), Plain(lack));
            pr_err!("{name}: RDMA device {device} {lack}\n");
            EOPNOTSUPP
        })?;
        let queues = QpConfig {
            send: CONTROL_DEPTH * 2,
            reserve: 0,
            recv: CONTROL_DEPTH + 1,
            send_sge: 1,
            vector: 0,
            poll: PollContext::Softirq,
            inline_imm: !attrs.immediates,
        };
        self.establish(way, &pd, 0, count, &queues)
    }

    /// Makes a connection for I/O.
    fn io(
        &self,
        pd: &Arc<Pd>,
        id: u16,
        count: &Count,
        accept: &ConnAccept,
    ) -> Result<Connection<Conn>> {
        let depth = u32::from(accept.queue_depth().get());
        let attrs = pd.attrs();
        let queues = QpConfig {
            // A request with its registration and perhaps a note, then an
            // invalidation.
            send: depth
                .saturating_mul(if attrs.immediates { 3 } else { 4 })
                .min(attrs.max_qp_wr.saturating_sub(1)),
            reserve: 0,
            // An answer, and, where answers are not short, the message that invalidates
            // before it.
            recv: depth
                .saturating_mul(2)
                .min(attrs.max_qp_wr.saturating_sub(1)),
            send_sge: attrs.max_send_sge.min(MAX_DATA_SGES as u32 + 1).max(2),
            vector: u32::from(id).saturating_sub(1),
            poll: match count.is_polled(id) {
                true => PollContext::Caller,
                false => PollContext::Softirq,
            },
            inline_imm: !attrs.immediates,
        };
        let way = Resolved::new(self.src, self.dst, TIMEOUT_MS, self.interrupt)?;
        Ok(self.establish(way, pd, id, count, &queues)?.0)
    }

    fn establish(
        &self,
        way: Resolved,
        pd: &Arc<Pd>,
        id: u16,
        count: &Count,
        queues: &QpConfig,
    ) -> Result<(Connection<Conn>, ConnAccept)> {
        let request = ConnReq::new(
            id,
            count.all,
            self.lives,
            self.path,
            self.session,
            self.first,
        )
        .map_err(|_| EINVAL)?
        .with_inline_imm(queues.inline_imm)
        .with_short_responses(true);
        let context = Conn::new(&self.shared, id, count.is_polled(id))?;
        let private = request.encode();
        let (connection, private) =
            match way.connect(pd, context, queues, &private, TIMEOUT_MS, self.interrupt) {
                Ok((connection, private)) => (Some(connection), private),
                Err(ConnectError::Rejected(private)) => (None, private),
                Err(ConnectError::Other(e)) => return Err(e),
            };
        match (ConnRsp::parse(private.as_slice()), connection) {
            (Ok(ConnRsp::Reject(errno)), _) => Err(Error::from_errno(errno.saturating_neg())),
            // By somebody who does not speak for a server.
            (_, None) => Err(ECONNREFUSED),
            (Ok(ConnRsp::Accept(accept)), Some(connection)) => {
                if accept.inline_imm() != queues.inline_imm {
                    let device = pd.device_name();
                    pr_err!("{}: the server does not do without immediates, which RDMA device {device} lacks\n", self.dst);
                    return Err(EOPNOTSUPP);
                }
                Ok((connection, accept))
            }
            (Err(e), Some(_)) => {
                let e = Plain(e);
                pr_err!("{}: the server's answer was refused: {e}\n", self.dst);
                Err(EPROTO)
            }
        }
    }
}

/// Posts all receives, tells the session's name and learns where the chunks
/// are.
fn exchange_info(
    shared: &Arc<Shared>,
    connections: &[Connection<Conn>],
    accept: &ConnAccept,
    name: SessName<'_>,
) -> Result {
    let (control, io) = connections.split_first().ok_or(EINVAL)?;
    let pd = control.pd();
    let size = info_rsp_size(accept.queue_depth().get());
    let info = Op::new(InfoReceive {
        buffer: DmaBuf::new(pd, size, DmaDir::FromDevice)?,
        layout: accept.layout(),
    })?;
    // First, as it is for the first message of the server.
    recv::post_info(info.begin().ok_or(EBUSY)?, &control.qp())?;
    post_receives(control, CONTROL_DEPTH)?;
    let attrs = pd.attrs();
    let depth = u32::from(accept.queue_depth().get())
        .saturating_mul(2)
        .min(attrs.max_qp_wr.saturating_sub(1));
    for connection in io {
        post_receives(connection, depth)?;
    }

    let buffer = DmaBuf::new(pd, INFO_REQ_SIZE, DmaDir::ToDevice)?;
    let mut bytes = [0; INFO_REQ_SIZE];
    InfoReq { name }.encode(&mut bytes).map_err(|_| EINVAL)?;
    buffer.write(0, &bytes)?;
    buffer.sync_for_device(0, INFO_REQ_SIZE);
    let send = Op::new(InfoSend { buffer })?.begin().ok_or(EBUSY)?;
    control
        .qp()
        .post_send(send, AwaitedEvents::Send, |send, chain| {
            chain.send(&[send.buffer.sge(0, INFO_REQ_SIZE)?])
        })
        .map_err(|(_, e)| e)?;

    let limit = Delta::from_millis(i64::from(TIMEOUT_MS));
    if !shared.informed.wait_killable_timeout(limit)? {
        return Err(ETIMEDOUT);
    }
    if shared.is_alive() && shared.chunks.as_ref().is_some() {
        Ok(())
    } else {
        Err(ECONNRESET)
    }
}

/// Posts `count` receives for short messages.
fn post_receives(connection: &Connection<Conn>, count: u32) -> Result {
    let count = count as usize;
    let size = count.checked_mul(MESSAGE_SIZE).ok_or(EINVAL)?;
    let buffer = Arc::new(
        DmaBuf::new(connection.pd(), size, DmaDir::FromDevice)?,
        GFP_KERNEL,
    )?;
    for index in 0..count {
        let receive = Op::new(Receive::new(&buffer, index)?)?;
        recv::post(receive.begin().ok_or(EBUSY)?, &connection.qp())?;
    }
    Ok(())
}
