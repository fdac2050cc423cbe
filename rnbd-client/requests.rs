// SPDX-License-Identifier: GPL-2.0-only

//! Block requests of a device become messages to the server.
//!
//! The tag of a request is the permit of its message: one tag set serves all
//! disks of a session and is as deep as the session has permits for I/O, so
//! there is neither a second allocator nor waiting.

#![deny(unsafe_code)]

use crate::device::Device;
use crate::mq;
use crate::mq::Operations;
use crate::mq::Request;
use crate::mq::RequestPayload;
use crate::mq::TimedOutRequest;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use rnbd_proto::latency::OpKind;
use rnbd_proto::request_timeout;
use rnbd_proto::request_timeout::TimeoutAction;
use rnbd_proto::wire::rnbd::BlockOp;
use rnbd_proto::wire::rnbd::IoFlags;
use rnbd_proto::wire::rnbd::IoMsg;
use rtrs::client::Direction;
use rtrs::client::PayloadBox;
use rtrs::client::Permit;
use rtrs::client::Queue;
use rtrs::kernel_ext::log::Plain;

const WAIT: usize = 0;
const REMOTE: usize = 1;

/// Which way the data of `request` goes, and how much it is.
fn direction(request: &Request) -> Result<(Direction, u32)> {
    Ok(match request.op()? {
        mq::Op::Read => (Direction::Read, request.bytes()),
        mq::Op::Write => (Direction::Write, request.bytes()),
        // No data: the message alone is written.
        _ => (Direction::Write, 0),
    })
}

/// The flags that the server needs to know.
fn flags(op: BlockOp, from: mq::Flags) -> IoFlags {
    let when = |set: bool, flag: IoFlags| if set { flag } else { IoFlags::NONE };
    // Reads, and what has to be durable, are waited for without saying so.
    let sync = op == BlockOp::Read || from.sync() || from.fua() || from.preflush();

    when(sync, IoFlags::SYNC)
        | when(from.fua(), IoFlags::FUA)
        | when(from.preflush(), IoFlags::PREFLUSH)
        | when(
            op == BlockOp::WriteZeroes && from.nounmap(),
            IoFlags::NOUNMAP,
        )
}

impl Operations for Device {
    type Module = crate::LocalModule;

    fn queue_rq(&self, transfer: RequestPayload<Self>) {
        if let Some(now) = self.latency.now() {
            transfer.request().times().began.store(now, Relaxed);
        }
        let (dir, len) = match direction(transfer.request()) {
            Ok(parts) => parts,
            Err(err) => return transfer.done(Err(err)),
        };
        let permit = Permit::new(transfer.request().tag());
        let queue = match transfer.request().queue() {
            mq::Queue::Default => Queue::Cpu,
            mq::Queue::Polled(number) => Queue::Polled(number),
        };
        let refused = self
            .transport
            .submit(dir, permit, queue, len, PayloadBox::new(transfer));
        match refused {
            Ok(()) => {}
            // Until there is room.
            Err((transfer, ENOMEM | ENOSPC)) => transfer.later(),
            // Whatever the transport's reason: the disk does not work.
            Err((transfer, _)) => transfer.done(Err(EIO)),
        }
    }

    fn message(&self, request: &Request, out: &mut [u8]) -> Result<usize> {
        if self.is_aborted() {
            return Err(EIO);
        }
        let id = self.id().ok_or(EIO)?;
        if let Some(now) = self.latency.now() {
            request.times().sent.store(now, Relaxed);
        }
        let op = match request.op()? {
            mq::Op::Read => BlockOp::Read,
            mq::Op::Write => BlockOp::Write,
            mq::Op::Flush => BlockOp::Flush,
            mq::Op::Discard => BlockOp::Discard,
            mq::Op::SecureErase => BlockOp::SecureErase,
            mq::Op::WriteZeroes => BlockOp::WriteZeroes,
        };
        let io = IoMsg::new(
            id,
            op,
            flags(op, request.flags()),
            request.sector(),
            request.bytes(),
            request.ioprio(),
        )
        .map_err(|err| Error::from_errno(-err.errno()))?;
        let message = io.encode();
        out.get_mut(..message.len())
            .ok_or(EMSGSIZE)?
            .copy_from_slice(&message);
        Ok(message.len())
    }

    fn ending(&self, request: &Request) {
        let Some(now) = self.latency.now() else {
            return;
        };
        let times = request.times();
        let (began, sent) = (times.began.load(Relaxed), times.sent.load(Relaxed));
        let kind = match request.op() {
            Ok(mq::Op::Read) => OpKind::Read,
            Ok(mq::Op::Write) => OpKind::Write,
            _ => OpKind::Other,
        };
        // Not sent, then, but refused.
        if sent < began {
            return;
        }
        self.latency.add(WAIT, kind, began, sent);
        self.latency.add(REMOTE, kind, sent, now);
    }

    fn poll(&self, number: u32) -> u32 {
        self.transport.poll(number)
    }

    fn overdue(&self, late: &TimedOutRequest) {
        let periods = self.transport.overdue(Permit::new(late.tag));
        let seconds = late.period_ms.saturating_mul(periods.into()) / 1000;
        match request_timeout::action(periods) {
            TimeoutAction::Ignore => {}
            TimeoutAction::Report => rtrs::pr_warn_ratelimited!(
                "rnbd{}: {late}: not answered for {seconds} s\n",
                self.number
            ),
            TimeoutAction::Reset => {
                pr_err!(
                    "rnbd{}: {late}: not answered for {seconds} s, connecting session {} anew\n",
                    self.number,
                    Plain(self.session.name().escape_ascii())
                );
                self.transport.reset("a request was not answered");
            }
        }
    }

    fn open(&self, writable: bool) -> Result {
        if !self.is_mapped() {
            return Err(ENXIO);
        }
        if writable && !self.mode.writes() {
            return Err(EPERM);
        }
        Ok(())
    }
}
