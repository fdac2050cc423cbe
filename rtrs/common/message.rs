// SPDX-License-Identifier: GPL-2.0-only

//! Messages that are sent or received once on a connection, each in a buffer of its own.

use core::marker::PhantomData;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::op_state::AwaitedEvents;

use crate::rdma::{
    dma::{
        DmaBuf,
        DmaDir, //
    },
    op::{
        HeldOp,
        Operation, //
    },
    op_set::OpSet,
    pd::Pd,
    qp::QpRef,
    wc::{
        Wc,
        WcKind, //
    }, //
};

/// A message that is sent on a connection with context `C`.
struct SentMessage<C> {
    buf: DmaBuf,
    completed: fn(&Arc<C>, &Wc),
}

/// Sends the message of `len` bytes that `fill` writes to a buffer of zeroes. `completed` is
/// called with the completion.
pub(crate) fn send<C: Send + Sync + 'static>(
    pd: &Arc<Pd>,
    qp: &QpRef<'_, C>,
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result,
    completed: fn(&Arc<C>, &Wc),
) -> Result {
    let mut buf = DmaBuf::new(pd, len, DmaDir::ToDevice)?;
    fill(buf.bytes_mut()?)?;
    buf.sync_for_device(0, len);
    let (set, message) = OpSet::of_one(SentMessage { buf, completed })?;
    qp.keep(&set)?;
    qp.post_send(message, AwaitedEvents::Send, |message, chain| {
        chain.send(&[message.buf.sge(0, message.buf.len())?])
    })
    .map_err(|(_, e)| e)
}

impl<C: Send + Sync + 'static> Operation for SentMessage<C> {
    type Context = C;

    fn finish(op: HeldOp<Self>, qp: Option<&QpRef<'_, C>>, wc: Option<&Wc>) {
        if let (Some(qp), Some(wc)) = (qp, wc) {
            (op.completed)(qp.context(), wc);
        }
    }
}

/// A message that is awaited on a connection with context `C`.
struct AwaitedMessage<C, F> {
    buf: DmaBuf,
    /// The message is copied to this memory, which the device cannot write.
    bytes: KVec<u8>,
    received: F,
    _context: PhantomData<fn(&C)>,
}

/// Posts the receive of a message of at most `size` bytes. `received` is called with the
/// completion, once, and with the message if that succeeded and a message it is.
pub(crate) fn receive<C, F>(pd: &Arc<Pd>, qp: &QpRef<'_, C>, size: usize, received: F) -> Result
where
    C: Send + Sync + 'static,
    F: FnMut(&QpRef<'_, C>, &Wc, &[u8]) + Send + Sync + 'static,
{
    let (set, message) = OpSet::of_one(AwaitedMessage {
        buf: DmaBuf::new(pd, size, DmaDir::FromDevice)?,
        bytes: KVec::zeroed(size, GFP_KERNEL)?,
        received,
        _context: PhantomData,
    })?;
    qp.keep(&set)?;
    qp.post_recv(message, |message, segments| {
        segments.push(message.buf.sge(0, message.buf.len())?)
    })
    .map_err(|(_, e)| e)
}

impl<C, F> Operation for AwaitedMessage<C, F>
where
    C: Send + Sync + 'static,
    F: FnMut(&QpRef<'_, C>, &Wc, &[u8]) + Send + Sync + 'static,
{
    type Context = C;

    fn finish(mut op: HeldOp<Self>, qp: Option<&QpRef<'_, C>>, wc: Option<&Wc>) {
        let (Some(qp), Some(wc)) = (qp, wc) else {
            return;
        };
        let op = &mut *op;
        let len = match wc.is_ok() && wc.kind() == WcKind::Recv {
            true => wc.byte_len(),
            false => 0,
        };
        let message = op.bytes.get_mut(..len).unwrap_or_default();
        op.buf.sync_for_cpu(0, message.len());
        // Cannot fail: the message lies in the buffer.
        let _ = op.buf.read(0, message);
        (op.received)(qp, wc, message);
    }
}
