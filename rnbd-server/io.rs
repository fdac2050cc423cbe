// SPDX-License-Identifier: GPL-2.0-only

//! Block requests: from the message to the bio and back to the answer.

#![deny(unsafe_code)]

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::command;
use rnbd_proto::command::Data;
use rnbd_proto::command::Disk;
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

/// What the block layer is to do for `io`, if that is a request that makes sense for the
/// device as it is now.
///
/// # Errors
///
/// Those of [`command::Refusal`].
pub(crate) fn command(io: &Io, request: &Request, export: &Export) -> Result<Command> {
    let data = Data {
        to_client: request.is_read(),
        len: request.data_len(),
    };
    let disk = Disk {
        mode: export.mode(),
        sectors: export.device().sectors(),
        block_size: export.device().logical_block_size(),
    };
    let command = command::Command::new(io, data, disk)
        .map_err(|refusal| Error::from_errno(-refusal.errno()))?;

    Ok(Command {
        opf: opf(command),
        sector: io.sector(),
        len: io.len(),
        prio: io.prio(),
    })
}

const _: () = assert!(command::PRIO_CLASS_SHIFT == bindings::IOPRIO_CLASS_SHIFT);
const _: () = assert!(command::PRIO_CLASS_MAX == bindings::IOPRIO_CLASS_IDLE);

fn opf(command: command::Command) -> Opf {
    let flags = [
        (IoFlags::SYNC, OpFlag::SYNC),
        (IoFlags::FUA, OpFlag::FUA),
        (IoFlags::PREFLUSH, OpFlag::PREFLUSH),
        (IoFlags::NOUNMAP, OpFlag::NOUNMAP),
    ];
    let op = match command.op {
        Op::Read => Opf::READ,
        Op::Write => Opf::WRITE,
        Op::Flush => Opf::FLUSH,
        Op::Discard => Opf::DISCARD,
        Op::SecureErase => Opf::SECURE_ERASE,
        Op::WriteZeroes => Opf::WRITE_ZEROES,
    };

    flags
        .into_iter()
        .filter(|(flag, _)| command.flags.contains(*flag))
        .fold(op, |opf, (_, bit)| opf | bit)
}
