// SPDX-License-Identifier: GPL-2.0-only

//! Block requests: from the message to the bio and back to the answer.

#![deny(unsafe_code)]

use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::block_command;
use rnbd_proto::block_command::RequestData;
use rnbd_proto::block_command::TargetDisk;
use rnbd_proto::latency::OpKind;
use rnbd_proto::wire::rnbd::BlockOp;
use rnbd_proto::wire::rnbd::IoFlags;
use rnbd_proto::wire::rnbd::IoMsg;
use rtrs::kernel_ext::pages::Pages;
use rtrs::server::Request;

use crate::bdev;
use crate::bdev::BioCommand;
use crate::bdev::BlockDevice;
use crate::bdev::OpFlag;
use crate::bdev::Opf;
use crate::export::Export;

/// A request that the block layer executes.
pub(crate) struct Inflight {
    request: Request,
    export: Arc<Export>,
    op: BlockOp,
    /// When it came, and when it was submitted; 0 where nobody asks.
    began: u64,
    submitted: u64,
}

const WAIT: usize = 0;
const DISK: usize = 1;

impl Inflight {
    pub(crate) fn new(request: Request, export: Arc<Export>, op: BlockOp) -> Self {
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
            BlockOp::Read => OpKind::Read,
            BlockOp::Write => OpKind::Write,
            _ => OpKind::Other,
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
        if self.op == BlockOp::WriteZeroes && !self.export.device().writes_zeroes() {
            return EOPNOTSUPP;
        }
        error
    }
}

impl bdev::BioOwner for Inflight {
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
/// Those of [`block_command::CommandError`].
pub(crate) fn command(io: &IoMsg, request: &Request, export: &Export) -> Result<BioCommand> {
    let data = RequestData {
        to_client: request.is_read(),
        len: request.data_len(),
    };
    let disk = TargetDisk {
        mode: export.mode(),
        sectors: export.device().sectors(),
        block_size: export.device().logical_block_size(),
    };
    let command = block_command::BlockCommand::new(io, data, disk)
        .map_err(|refusal| Error::from_errno(-refusal.errno()))?;

    Ok(BioCommand {
        opf: opf(command),
        sector: io.sector(),
        len: io.len(),
        prio: io.prio(),
    })
}

const _: () = assert!(block_command::PRIO_CLASS_SHIFT == bindings::IOPRIO_CLASS_SHIFT);
const _: () = assert!(block_command::PRIO_CLASS_MAX == bindings::IOPRIO_CLASS_IDLE);

fn opf(command: block_command::BlockCommand) -> Opf {
    let flags = [
        (IoFlags::SYNC, OpFlag::SYNC),
        (IoFlags::FUA, OpFlag::FUA),
        (IoFlags::PREFLUSH, OpFlag::PREFLUSH),
        (IoFlags::NOUNMAP, OpFlag::NOUNMAP),
    ];
    let op = match command.op {
        BlockOp::Read => Opf::READ,
        BlockOp::Write => Opf::WRITE,
        BlockOp::Flush => Opf::FLUSH,
        BlockOp::Discard => Opf::DISCARD,
        BlockOp::SecureErase => Opf::SECURE_ERASE,
        BlockOp::WriteZeroes => Opf::WRITE_ZEROES,
    };

    flags
        .into_iter()
        .filter(|(flag, _)| command.flags.contains(*flag))
        .fold(op, |opf, (_, bit)| opf | bit)
}
