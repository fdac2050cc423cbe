// SPDX-License-Identifier: GPL-2.0-only

//! Block requests: from the message to the bio, and back to the response.

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
use crate::bdev::BioSet;
use crate::bdev::BlockDevice;
use crate::bdev::OpFlag;
use crate::bdev::Opf;
use crate::open_device::Export;

/// A client's request that the block layer executes.
pub(crate) struct BlockRequest {
    request: Request,
    export: Arc<Export>,
    op: BlockOp,
    /// Time of arrival and of submission; 0 while latency is not measured.
    arrived_at: u64,
    submitted_at: u64,
}

/// Indices of the histograms: from arrival to submission, and from there to completion.
const WAIT: usize = 0;
const DISK: usize = 1;

impl BlockRequest {
    /// Pairs `request` with the device it is for.
    pub(crate) fn new(request: Request, export: Arc<Export>, op: BlockOp) -> Self {
        let arrived_at = export.latency().now().unwrap_or(0);
        Self {
            request,
            export,
            op,
            arrived_at,
            submitted_at: 0,
        }
    }

    /// Adds the latency of the request to the histograms.
    fn record_latency(&self) {
        let latency = self.export.latency();
        let Some(now) = latency.now() else { return };
        let kind = match self.op {
            BlockOp::Read => OpKind::Read,
            BlockOp::Write => OpKind::Write,
            _ => OpKind::Other,
        };

        latency.add(WAIT, kind, self.arrived_at, self.submitted_at);
        latency.add(DISK, kind, self.submitted_at, now);
    }

    /// Returns the error for the client.
    ///
    /// A disk may clear its write zeroes limit when the first such operation fails.
    /// Local callers then see the limit and write zeroes themselves; `EOPNOTSUPP` lets
    /// the client do the same.
    fn client_error(&self, error: Error) -> Error {
        if self.op == BlockOp::WriteZeroes && !self.export.device().writes_zeroes() {
            return EOPNOTSUPP;
        }
        error
    }
}

impl bdev::BioOwner for BlockRequest {
    fn bio_set(&self) -> &BioSet<Self> {
        self.export.bio_set()
    }

    fn device(&self) -> &BlockDevice {
        self.export.device()
    }

    fn pages(&self) -> &Pages {
        self.request.pages()
    }

    fn submitting(&mut self) {
        self.submitted_at = self.export.latency().now().unwrap_or(0);
    }

    fn complete(self, result: Result) {
        let result = result.map_err(|error| self.client_error(error));
        self.record_latency();
        let Self {
            request, export, ..
        } = self;

        request.complete(result);
        // Only now, so that no session ends before the responses are sent.
        drop(export);
    }
}

/// Checks `io` against its data and the present state of the device, and translates it.
///
/// # Errors
///
/// Those of [`block_command::CommandError`].
pub(crate) fn bio_command(io: &IoMsg, request: &Request, export: &Export) -> Result<BioCommand> {
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
        .map_err(|reason| Error::from_errno(-reason.errno()))?;

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
