// SPDX-License-Identifier: GPL-2.0-only

//! Block requests of a device: their messages to the server, completion and timeout.
//!
//! The tag of a request stands for its permit for the transport: one tag set serves all disks of a
//! session, and each tag has a permit ([`MessageIds`](crate::message_ids::MessageIds)), so there
//! is neither a second allocator nor a wait for a permit.

#![deny(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use kernel::prelude::*;

use rnbd_proto::{
    latency::OpKind,
    request_timeout::{
        self,
        TimeoutAction, //
    },
    wire::rnbd::{
        BlockOp,
        DeviceId,
        IdentityKind,
        IoFlags,
        IoMsg, //
    }, //
};

use rtrs::{
    client::{
        Direction,
        PayloadBox,
        Permit, //
    },
    kernel_ext::log::Plain, //
};

use crate::{
    device::Device,
    mq::{
        Flags,
        Operations,
        Request,
        RequestPayload,
        TimedOutRequest, //
    }, //
};

/// Stages of the latency statistics.
const WAIT: usize = 0;
const REMOTE: usize = 1;

/// Returns the direction and the length of the data of `request`.
#[inline]
fn direction(request: &Request) -> Result<(Direction, u32)> {
    Ok(match request.op()? {
        BlockOp::Read => (Direction::Read, request.bytes()),
        BlockOp::Write => (Direction::Write, request.bytes()),
        // Without data: only the message is written.
        _ => (Direction::Write, 0),
    })
}

/// Returns the flags of the message for a request.
#[inline]
fn io_flags(op: BlockOp, flags: Flags) -> IoFlags {
    let when = |set: bool, flag: IoFlags| if set { flag } else { IoFlags::NONE };
    // As `op_is_sync` of the block layer, which this stands for.
    let sync = op == BlockOp::Read || flags.sync() || flags.fua() || flags.preflush();

    when(sync, IoFlags::SYNC)
        | when(flags.fua(), IoFlags::FUA)
        | when(flags.preflush(), IoFlags::PREFLUSH)
        | when(flags.atomic(), IoFlags::ATOMIC)
        | when(
            op == BlockOp::WriteZeroes && flags.nounmap(),
            IoFlags::NOUNMAP,
        )
}

/// Returns the id of a device whose requests may be sent.
///
/// # Errors
///
/// `EAGAIN` for requests that are to be sent later, `EIO` for those that fail.
#[inline]
fn usable_id(device: &Device) -> Result<DeviceId> {
    match device.is_aborted() || device.stall.is_stalled() {
        true => Err(EIO),
        false => device
            .id()
            .ok_or_else(|| if device.waits() { EAGAIN } else { EIO }),
    }
}

impl Device {
    /// Returns the flags of a request that the disk does not know of.
    #[inline]
    fn forced_flags(&self, op: BlockOp) -> IoFlags {
        match op == BlockOp::Write && self.follower.forces_fua() {
            true => IoFlags::FUA,
            false => IoFlags::NONE,
        }
    }

    /// Adds the latency of a request that completes at `now` to the histograms. Cold, as they are
    /// seldom on.
    #[cold]
    fn record_latency(&self, request: &Request, now: u64) {
        let times = request.timestamps();
        let (queued, sent) = (times.queued.load(Relaxed), times.sent.load(Relaxed));
        let kind = match request.op() {
            Ok(BlockOp::Read) => OpKind::Read,
            Ok(BlockOp::Write) => OpKind::Write,
            _ => OpKind::Other,
        };
        // It was never sent: `sent` is that of an earlier request with this tag.
        if sent < queued {
            return;
        }
        self.latency.add(WAIT, kind, queued, sent);
        self.latency.add(REMOTE, kind, sent, now);
    }
}

impl Operations for Device {
    type Module = crate::LocalModule;

    #[inline]
    fn queue_rq(&self, payload: RequestPayload<Self>) {
        let request = payload.request();
        if let Some(now) = self.latency.now() {
            request.timestamps().queued.store(now, Relaxed);
        }
        let (dir, len) = match direction(request) {
            Ok(parts) => parts,
            Err(err) => return payload.complete(Err(err)),
        };
        let permit = Permit::new(self.ids.of(request.tag()));
        let queue = request.queue();
        let submitted = self
            .transport
            .submit(dir, permit, queue, len, PayloadBox::new(payload));
        match submitted {
            Ok(()) => {}
            // No space in the RDMA device at the moment, or the server lacks the device.
            Err((payload, ENOMEM | ENOSPC | EAGAIN)) => payload.later(),
            // Whatever the error of the transport, to the block layer it is an I/O error.
            Err((payload, _)) => payload.done(Err(EIO)),
        }
    }

    #[inline]
    fn encode_message(&self, request: &Request, out: &mut [u8]) -> Result<usize> {
        let id = usable_id(self)?;
        if let Some(now) = self.latency.now() {
            request.timestamps().sent.store(now, Relaxed);
        }
        let op = request.op()?;
        let io = IoMsg::new(
            id,
            op,
            io_flags(op, request.flags()) | self.forced_flags(op),
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

    fn check(&self) -> Result {
        match usable_id(self) {
            Ok(_) | Err(EAGAIN) => Ok(()),
            Err(err) => Err(err),
        }
    }

    #[inline]
    fn completing(&self, request: &Request) {
        if let Some(now) = self.latency.now() {
            self.record_latency(request, now);
        }
    }

    fn poll(&self, number: u32) -> u32 {
        self.transport.poll(number)
    }

    fn timed_out(&self, request: &TimedOutRequest) {
        let permit = Permit::new(self.ids.of(request.tag));
        let periods = self.transport.count_timeout(permit);
        let seconds = request.period_ms.saturating_mul(periods.into()) / 1000;
        let report = || {
            rtrs::pr_warn_ratelimited!(u64::from(self.number) =>
                "rnbd{}: {request}: no response for {seconds} s\n",
                self.number
            );
        };
        match request_timeout::action(periods, request.disks) {
            TimeoutAction::Ignore => {}
            TimeoutAction::Report => report(),
            TimeoutAction::Withdraw => {
                report();
                // If that is impossible it is tried again after the next period.
                self.withdraw(request.tag);
            }
            TimeoutAction::Reset => {
                pr_err!(
                    "rnbd{}: {request}: no response for {seconds} s, reconnecting session {}\n",
                    self.number,
                    Plain(self.transport.name().to_bytes().escape_ascii())
                );
                self.transport.reset("no response to a request");
            }
        }
    }

    fn open(&self, writable: bool) -> Result {
        if !self.is_mapped() && !self.waits() {
            return Err(ENXIO);
        }
        self.follower.opening();
        if writable && (!self.mode.writes() || self.follower.is_read_only()) {
            // `mount` then tries to mount read-only.
            return Err(EROFS);
        }
        Ok(())
    }

    fn unique_id(&self, kind: IdentityKind) -> Option<&[u8]> {
        self.identity()?.designator(kind)
    }
}
