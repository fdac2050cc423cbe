// SPDX-License-Identifier: GPL-2.0-only

//! Block requests: from the message to the bio and back to the answer.

#![deny(unsafe_code)]

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::latency::Kind;
use rnbd_proto::wire::rnbd::Io;
use rnbd_proto::wire::rnbd::IoFlags;
use rnbd_proto::wire::rnbd::Op;
use rtrs::server::Request;
use rtrs::support::mem::Pages;

use crate::bdev;
use crate::bdev::BlockDevice;
use crate::bdev::Command;
use crate::bdev::OpFlag;
use crate::bdev::Opf;
use crate::bdev::SECTOR_SIZE;
use crate::export::Export;

/// A request that the block layer executes.
pub(crate) struct Inflight {
    request: Request,
    export: Arc<Export>,
    op: Op,
    /// When it came, and when it was submitted; 0 where nobody asks.
    began: u64,
    submitted: u64,
}

const WAIT: usize = 0;
const DISK: usize = 1;

impl Inflight {
    pub(crate) fn new(request: Request, export: Arc<Export>, op: Op) -> Self {
        let began = export.latency().now().unwrap_or(0);
        Self {
            request,
            export,
            op,
            began,
            submitted: 0,
        }
    }

    /// It is about to be submitted.
    pub(crate) fn submitting(&mut self) {
        self.submitted = self.export.latency().now().unwrap_or(0);
    }

    /// Counts how long it took.
    fn count(&self) {
        let latency = self.export.latency();
        let Some(now) = latency.now() else { return };
        let kind = match self.op {
            Op::Read => Kind::Read,
            Op::Write => Kind::Write,
            _ => Kind::Other,
        };

        latency.add(WAIT, kind, self.began, self.submitted);
        latency.add(DISK, kind, self.submitted, now);
    }

    /// What the client is to be told of a failure.
    ///
    /// Some disks find out by failing that they cannot write zeroes, and then take it
    /// back in their limits. Callers here look there, and write zeroes by themselves;
    /// so can a client that is told.
    fn failure(&self, error: Error) -> Error {
        if self.op == Op::WriteZeroes && !self.export.device().writes_zeroes() {
            return EOPNOTSUPP;
        }
        error
    }
}

impl bdev::Io for Inflight {
    fn device(&self) -> &BlockDevice {
        self.export.device()
    }

    fn pages(&self) -> &Pages {
        self.request.pages()
    }

    fn done(self, result: Result) {
        let result = result.map_err(|error| self.failure(error));
        self.count();
        let Self {
            request, export, ..
        } = self;

        request.complete(result);
        // Only now, so that a session does not end while answers are being given.
        drop(export);
    }
}

/// What the block layer is to do for `io`, if that is a request that makes sense:
/// nothing that it takes for granted about its callers may depend on a peer.
///
/// # Errors
///
/// - `EROFS` if it changes a device that was opened to be read;
/// - `EINVAL` if it contradicts itself, the data that came with it, or the blocks of the
///   device;
/// - `EIO` if it goes beyond the end of the device, which may be nearer than it was.
pub(crate) fn command(io: &Io, request: &Request, export: &Export) -> Result<Command> {
    if io.op().modifies() && !export.mode().writes() {
        return Err(EROFS);
    }
    check_data(io, request)?;
    check_range(io, export.device())?;
    check_prio(io.prio())?;
    Ok(Command {
        opf: opf(io.op(), io.flags())?,
        sector: io.sector(),
        len: io.len(),
        prio: io.prio(),
    })
}

/// The data has to be as long as the range, and go the right way.
fn check_data(io: &Io, request: &Request) -> Result {
    let expected = if io.op().has_data() { io.len() } else { 0 };
    let direction = match io.op() {
        Op::Read => request.is_read(),
        // Block layers count a flush as a read of nothing.
        Op::Flush => true,
        _ => !request.is_read(),
    };

    if direction && usize::try_from(expected) == Ok(request.data_len()) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// The range has to be of whole blocks, inside of the device as large as it is now. One
/// that is gone has no size at all.
fn check_range(io: &Io, device: &BlockDevice) -> Result {
    // Block sizes are powers of two.
    let block = device.logical_block_size();
    let within_block = block.wrapping_sub(1);
    let within_sectors = u64::from((block / SECTOR_SIZE).wrapping_sub(1));
    let end = io.sector().checked_add(u64::from(io.len() / SECTOR_SIZE));

    if io.len() & within_block != 0 || io.sector() & within_sectors != 0 {
        return Err(EINVAL);
    }
    // What the block layer says to its own callers.
    if end.is_none_or(|end| end > device.sectors()) {
        return Err(EIO);
    }
    Ok(())
}

/// I/O schedulers have tables of the classes that exist.
fn check_prio(prio: u16) -> Result {
    if u32::from(prio >> bindings::IOPRIO_CLASS_SHIFT) > bindings::IOPRIO_CLASS_IDLE {
        return Err(EINVAL);
    }
    Ok(())
}

fn opf(op: Op, flags: IoFlags) -> Result<Opf> {
    let mut opf = match op {
        Op::Read => Opf::READ,
        Op::Write => Opf::WRITE,
        // Clients set all sorts of flags with it, to no effect.
        Op::Flush => return Ok(Opf::FLUSH),
        Op::Discard => Opf::DISCARD,
        Op::SecureErase => Opf::SECURE_ERASE,
        Op::WriteZeroes if flags.contains(IoFlags::NOUNMAP) => Opf::WRITE_ZEROES | OpFlag::NOUNMAP,
        Op::WriteZeroes => Opf::WRITE_ZEROES,
    };

    if flags.contains(IoFlags::SYNC) {
        opf = opf | OpFlag::SYNC;
    }
    for (flag, bit) in [
        (IoFlags::FUA, OpFlag::FUA),
        (IoFlags::PREFLUSH, OpFlag::PREFLUSH),
    ] {
        if flags.contains(flag) {
            // The block layer warns about any operation but a write with these.
            if op != Op::Write {
                return Err(EINVAL);
            }
            opf = opf | bit;
        }
    }
    Ok(opf)
}
