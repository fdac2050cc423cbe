// SPDX-License-Identifier: GPL-2.0-only

//! The exchange of INFO: the client names its session, the server its chunks.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    op_state::AwaitedEvents,
    wire::{
        name::SessName,
        rtrs::{
            info_rsp_size,
            InfoReq,
            InfoRsp,
            INFO_REQ_SIZE, //
        }, //
    }, //
};

use crate::{
    kernel_ext::log::Plain,
    rdma::{
        connection::Connection,
        dma::{
            DmaBuf,
            DmaDir, //
        },
        op::{
            HeldOp,
            Op,
            Operation, //
        },
        qp::QpRef,
        wc::Wc, //
    }, //
};

use super::{
    conn::Conn,
    link_state::LinkState,
    remote_buf::RemoteBuf,
    request_table::RequestTable, //
};

/// Completions of the client run in softirq.
const GFP_SOFTIRQ: kernel::alloc::Flags = GFP_ATOMIC;

/// The receive for INFO_RSP.
struct InfoReceive {
    buffer: DmaBuf,
    requests: Arc<RequestTable<Conn>>,
}

/// A sent INFO_REQ.
struct InfoSend {
    buffer: DmaBuf,
}

/// Posts the receive for INFO_RSP. It must be the first one of the connection.
pub(super) fn post_receive(
    control: &Connection<Conn>,
    requests: &Arc<RequestTable<Conn>>,
) -> Result {
    let depth = requests.negotiated().layout.queue_depth();
    let size = info_rsp_size(depth.get());
    let info = Op::new(InfoReceive {
        buffer: DmaBuf::new(control.pd(), size, DmaDir::FromDevice)?,
        requests: requests.clone(),
    })?;
    let info = info.begin().ok_or(EBUSY)?;
    control
        .qp()
        .post_recv(info, |r| r.buffer.sge(0, r.buffer.len()).map(Some))
        .map_err(|(_, e)| e)
}

/// Sends INFO_REQ and waits for the response.
///
/// # Errors
///
/// `ETIMEDOUT` after `limit`, `ECONNRESET` when the link failed, `ERESTARTSYS` when the task
/// was killed.
pub(super) fn exchange(
    control: &Connection<Conn>,
    link: &LinkState,
    requests: &RequestTable<Conn>,
    name: SessName<'_>,
    limit: Delta,
) -> Result {
    let buffer = DmaBuf::new(control.pd(), INFO_REQ_SIZE, DmaDir::ToDevice)?;
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

    if !link.wait_info(limit)? {
        return Err(ETIMEDOUT);
    }
    if link.is_alive() && requests.is_ready() {
        Ok(())
    } else {
        Err(ECONNRESET)
    }
}

impl InfoReceive {
    /// Parses a response of `len` bytes.
    fn parse(&self, len: usize) -> Result<KVec<RemoteBuf>> {
        let mut bytes = KVec::new();
        bytes.resize(len.min(self.buffer.len()), 0, GFP_SOFTIRQ)?;
        self.buffer.sync_for_cpu(0, bytes.len());
        self.buffer.read(0, &mut bytes)?;
        let layout = self.requests.negotiated().layout;
        let info = InfoRsp::parse(&bytes, layout).map_err(|e| {
            let e = Plain(e);
            pr_err!("the server's INFO_RSP was refused: {e}\n");
            EPROTO
        })?;
        let depth = usize::from(layout.queue_depth().get());
        let mut remote_bufs = KVec::with_capacity(depth, GFP_SOFTIRQ)?;
        for chunk in info.chunks() {
            remote_bufs.push(RemoteBuf::new(chunk.addr, chunk.rkey), GFP_SOFTIRQ)?;
        }
        Ok(remote_bufs)
    }
}

impl Operation for InfoReceive {
    type Context = Conn;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let link = qp.context().link();
        link.heartbeat().received();
        if !wc.is_ok() {
            link.fail("the connection broke while the session was set up");
            return;
        }
        match op.parse(wc.byte_len()) {
            Ok(remote_bufs) => {
                op.requests.set_remote_bufs(remote_bufs);
                link.complete_info();
            }
            Err(_) => link.fail("the session could not be set up"),
        }
    }
}

impl Operation for InfoSend {
    type Context = Conn;

    fn finish(_op: HeldOp<Self>, qp: Option<&QpRef<'_, Conn>>, wc: Option<&Wc>) {
        if let (Some(qp), Some(false)) = (qp, wc.map(Wc::is_ok)) {
            let link = qp.context().link();
            link.fail("the connection broke while the session was set up");
        }
    }
}
