// SPDX-License-Identifier: GPL-2.0-only

//! Block requests: from the message to the bio, and back to the response; and the part of a
//! device that they use.

#![deny(unsafe_code)]

use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    block_command::{
        self,
        BlockCommand,
        RequestData,
        TargetDisk, //
    },
    client_flushes::ClientFlushes,
    latency::OpKind,
    wire::rnbd::{
        AccessMode,
        BlockOp,
        Description,
        DeviceFlags,
        DeviceId,
        Generation,
        Geometry,
        Identity,
        IoFlags,
        IoMsg,
        Message, //
    }, //
};

use rtrs::{
    kernel_ext::{
        latency::Latency,
        pages::Pages,
        ref_table::TableRef,
        workqueue::WorkqueueHandle, //
    },
    server::Request, //
};

use crate::{
    bdev::{
        self,
        BioCommand,
        BioData,
        BioSet,
        BlockDevice,
        OpFlag,
        Opf,
        PostFlush,
        MAX_ZEROES,
        SECTOR_SIZE, //
    },
    params,
    submit_queue::SubmitQueue, //
};

/// The part of an open device that requests use.
pub(crate) struct BackingDevice {
    id: DeviceId,
    device: BlockDevice,
    bio_set: BioSet<BlockRequest>,
    post_flush: Arc<PostFlush<BlockRequest>>,
    client_flushes: ClientFlushes,
    mode: AccessMode,
    submit_queue: Arc<SubmitQueue>,
    /// Whether its driver may sleep in the task that submits a bio.
    driver_sleeps: bool,
    identity: Option<Identity>,
    latency: Arc<Latency>,
}

impl BackingDevice {
    /// Prepares `device`, which the client opened in `mode`, for requests. If need be the
    /// device is flushed on `queue`.
    pub(crate) fn new(
        id: DeviceId,
        device: BlockDevice,
        mode: AccessMode,
        submit_queue: Arc<SubmitQueue>,
        latency: Arc<Latency>,
        queue: WorkqueueHandle,
    ) -> Result<Self> {
        Ok(Self {
            id,
            identity: device.identity(),
            driver_sleeps: device.driver_sleeps(),
            device,
            bio_set: BioSet::new()?,
            post_flush: PostFlush::new(queue)?,
            client_flushes: ClientFlushes::new(false),
            mode,
            submit_queue,
            latency,
        })
    }

    /// The id by which the client knows the device.
    #[inline]
    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// The block device.
    #[inline]
    pub(crate) fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// What is known of the flushes of the client.
    pub(crate) fn client_flushes(&self) -> &ClientFlushes {
        &self.client_flushes
    }

    /// Describes the device for the client, as it is at present.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the protocol cannot describe the device.
    pub(crate) fn describe(&self) -> Result<Description> {
        let limits = self.device.limits();
        let geometry = Geometry::new(
            limits.sectors,
            limits.logical_block_size,
            limits.physical_block_size,
        )
        .map_err(|reason| Error::from_errno(-reason.errno()))?;

        // The length of a request is a 32-bit number of bytes, and a multiple of the block
        // size, which is a power of two.
        let partial = geometry.logical_block_size().wrapping_sub(1);
        let max_sectors = (u32::MAX & !partial) / SECTOR_SIZE;
        // A client that may only read is told that these operations are not supported.
        let range = |max: u32| {
            if self.mode.writes() {
                max.min(max_sectors)
            } else {
                0
            }
        };

        // The server writes the zeroes for a device that cannot.
        let zeroes_written = self.mode.writes() && limits.max_write_zeroes_sectors == 0;
        let max_write_zeroes_sectors = match zeroes_written {
            true => MAX_ZEROES / SECTOR_SIZE,
            false => range(limits.max_write_zeroes_sectors),
        };

        let atomic_writes = limits.atomic_writes.filter(|_| self.mode.writes());
        Ok(Description {
            generation: Generation::FIRST,
            flags: limits
                .flags
                .with(DeviceFlags::ZEROES_WRITTEN, zeroes_written)
                .with(DeviceFlags::ATOMIC_REQUESTS, atomic_writes.is_some()),
            io_min: limits.io_min,
            io_opt: limits.io_opt,
            alignment_offset: limits.alignment_offset,
            max_transfer_sectors: limits.max_hw_sectors,
            max_segments: limits.max_segments.into(),
            max_discard_sectors: range(limits.max_discard_sectors),
            discard_granularity: limits.discard_granularity,
            discard_alignment: limits.discard_alignment,
            max_secure_erase_sectors: range(limits.max_secure_erase_sectors),
            max_write_zeroes_sectors,
            max_write_zeroes_unmap_sectors: range(limits.max_write_zeroes_unmap_sectors),
            zones: limits.zones,
            atomic_writes,
            partition: self.device.partition(),
            identity: self.identity,
            ..Description::new(geometry)
        })
    }
}

/// A client's request that the block layer executes.
pub(crate) struct BlockRequest {
    request: Request,
    backing: TableRef<BackingDevice>,
    op: BlockOp,
    /// Whether `EAGAIN` means that the device is to be waited for.
    nowait: bool,
    /// Whether the bio was submitted with FUA.
    fua: bool,
    /// Whether the device was flushed after the bio.
    flushed: bool,
    /// Time of arrival and of submission; 0 while latency is not measured.
    arrived_at: u64,
    submitted_at: u64,
}

/// Indices of the histograms: from arrival to submission, and from there to completion.
const WAIT: usize = 0;
const DISK: usize = 1;

impl BlockRequest {
    /// Pairs `request` with the device it is for.
    pub(crate) fn new(request: Request, backing: TableRef<BackingDevice>, op: BlockOp) -> Self {
        let arrived_at = backing.latency.now().unwrap_or(0);
        Self {
            request,
            backing,
            op,
            nowait: false,
            fua: false,
            flushed: false,
            arrived_at,
            submitted_at: 0,
        }
    }

    /// Submits the request, now or when the device can take it. Does not wait for that.
    pub(crate) fn submit(mut self, mut command: BioCommand) {
        // Zeroes are many segments, which the device mostly cannot take without a wait.
        if command.data == BioData::Zeroes
            || !command.opf.can_be_nowait()
            || self.backing.driver_sleeps
            || self.backing.submit_queue.is_busy()
            || !self.backing.device.supports_nowait()
        {
            return self.wait_for_device();
        }
        self.nowait = true;
        self.fua = command.opf.is_fua();
        command.opf = command.opf | OpFlag::NOWAIT;

        match bdev::submit(self, &command) {
            Ok(()) => {}
            Err((request, EAGAIN)) => request.wait_for_device(),
            Err((request, error)) => request.fail(error),
        }
    }

    /// Submits the request, and sleeps until the device can take it.
    pub(crate) fn submit_and_sleep(mut self) {
        let command = match Message::parse(self.request.message()) {
            Ok(Message::Io(io)) => bio_command(&io, &self.request, &self.backing),
            // It was one when it arrived.
            _ => Err(EINVAL),
        };
        let submitted = match command {
            Ok(command) => {
                self.fua = command.opf.is_fua();
                bdev::submit(self, &command)
            }
            Err(error) => Err((self, error)),
        };

        if let Err((request, error)) = submitted {
            request.fail(error);
        }
    }

    /// Completes the request with `error`, without the device.
    pub(crate) fn fail(mut self, error: Error) {
        self.nowait = false;
        bdev::BioOwner::complete(self, Err(error));
    }

    /// Has the request submitted by a task that may sleep. Any context.
    fn wait_for_device(mut self) {
        self.nowait = false;
        let queue = self.backing.submit_queue.clone();

        queue.push(self);
    }

    /// Whether later requests of the device must not overtake this one while it waits.
    ///
    /// A range without data waits because it may have to, mostly without need; and a device may
    /// take few discards at a time, but any number of reads.
    #[inline]
    pub(crate) fn holds_back_others(&self) -> bool {
        matches!(self.op, BlockOp::Read | BlockOp::Write | BlockOp::Flush)
    }

    /// Adds the latency of the request, which completes at `now`, to the histograms. Cold, as they
    /// are seldom on.
    #[cold]
    fn record_latency(&self, now: u64) {
        let latency = &self.backing.latency;
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
        if self.op == BlockOp::WriteZeroes && !self.backing.device.writes_zeroes() {
            return EOPNOTSUPP;
        }
        error
    }
}

impl bdev::BioOwner for BlockRequest {
    #[inline]
    fn bio_set(&self) -> &BioSet<Self> {
        &self.backing.bio_set
    }

    #[inline]
    fn device(&self) -> &BlockDevice {
        &self.backing.device
    }

    #[inline]
    fn pages(&self) -> Option<&Pages> {
        self.request.pages()
    }

    #[inline]
    fn submitting(&mut self) {
        self.submitted_at = self.backing.latency.now().unwrap_or(0);
    }

    #[inline]
    fn must_flush(&mut self) -> bool {
        let device = &self.backing.device;
        let flags = match self.fua {
            true => IoFlags::FUA,
            false => IoFlags::NONE,
        };
        let must = !self.flushed
            && self
                .backing
                .client_flushes
                .must_flush(self.op, flags, || device.write_cache());

        if must {
            self.flushed = true;
            // The flush waits for the device.
            self.nowait = false;
        }
        must
    }

    fn post_flush(&self) -> &Arc<PostFlush<Self>> {
        &self.backing.post_flush
    }

    #[inline]
    fn complete(self, result: Result) {
        // A device can also have ceased to support `NOWAIT` since it was asked.
        if self.nowait && matches!(result, Err(EAGAIN | EOPNOTSUPP)) {
            return self.wait_for_device();
        }
        let result = result.map_err(|error| self.client_error(error));
        if let Some(now) = self.backing.latency.now() {
            self.record_latency(now);
        }
        let Self {
            request, backing, ..
        } = self;

        request.complete(result);
        // Only now, so that no session ends before the responses are sent.
        drop(backing);
    }
}

/// Checks `io` against its data and the present state of the device, and translates it.
///
/// # Errors
///
/// Those of [`block_command::CommandError`].
pub(crate) fn bio_command(
    io: &IoMsg,
    request: &Request,
    backing: &BackingDevice,
) -> Result<BioCommand> {
    let data = RequestData {
        to_client: request.is_read(),
        len: request.data_len(),
    };
    let disk = TargetDisk {
        writable: backing.mode.writes() && (!io.op().modifies() || !backing.device.read_only()),
        sectors: backing.device.sectors(),
        block_size: backing.device.logical_block_size(),
    };
    let command =
        BlockCommand::new(io, data, disk).map_err(|reason| Error::from_errno(-reason.errno()))?;
    let (command, data) = match command.op {
        BlockOp::WriteZeroes if !backing.device.writes_zeroes() => {
            let write = BlockCommand {
                op: BlockOp::Write,
                ..command
            };
            (write, BioData::Zeroes)
        }
        _ => (command, BioData::Pages),
    };
    let client = &backing.client_flushes;

    client.observe(command.op, io.flags());
    let flags = client.submit_flags(command.op, command.flags, || backing.device.write_cache());
    Ok(BioCommand {
        opf: Opf::from(BlockCommand { flags, ..command }),
        sector: io.sector(),
        len: io.len(),
        prio: params::prio_policy().apply(io.prio()),
        data,
    })
}

const _: () = assert!(block_command::PRIO_CLASS_SHIFT == bindings::IOPRIO_CLASS_SHIFT);
const _: () = assert!(block_command::PRIO_CLASS_MAX == bindings::IOPRIO_CLASS_IDLE);
