// SPDX-License-Identifier: GPL-2.0-only

//! A device that a session has open.
//!
//! [`Export`] is what requests hold while they are executed. [`Opened`] is what the
//! session holds. To close the device, part of that is dropped at once, and the rest of it
//! when the last request has ended.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use rnbd_proto::wire::rnbd::AccessMode;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::Geometry;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::kernel_ext::debugfs::LatencyFile;
use rtrs::kernel_ext::latency::Latency;
use rtrs::kernel_ext::sysfs::SysfsDir;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;
use rtrs::server::Request;

use crate::bdev::BioSet;
use crate::bdev::BlockDevice;
use crate::bdev::DevId;
use crate::bdev::SECTOR_SIZE;
use crate::block_request::BlockRequest;
use crate::deferred_close::DeferredClose;
use crate::deferred_close::InUse;
use crate::devices::Devices;
use crate::disk_registry::Opener;
use crate::export_acl::AccessGrant;

/// A device as requests use it.
///
/// The last reference may go in interrupt context. That closes nothing, as the
/// [`Opened`] has a reference to the device as well.
pub(crate) struct Export {
    device: Arc<BlockDevice>,
    bio_set: Arc<BioSet<BlockRequest>>,
    mode: AccessMode,
    latency: Arc<Latency>,
    /// Last, so that the reference to the device is gone when this says so.
    _in_use: InUse,
}

impl Export {
    /// The bio set of its requests.
    #[inline]
    pub(crate) fn bio_set(&self) -> &BioSet<BlockRequest> {
        &self.bio_set
    }

    /// The device.
    #[inline]
    pub(crate) fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// How the client opened it.
    #[inline]
    pub(crate) fn mode(&self) -> AccessMode {
        self.mode
    }

    /// How long requests wait to be submitted, and then for the device.
    #[inline]
    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }
}

/// A device as its session holds it.
pub(crate) struct Opened {
    files: SysfsDir,
    export: Arc<Export>,
    drain: Arc<DeferredClose>,
    held: Held,
    /// Sectors that it had when it was looked at last.
    seen: Atomic<u64>,
}

/// What a session holds of a device until its last request has ended. Dropping it closes
/// the device, and sleeps for that.
pub(crate) struct Held {
    // Dropped in this order: the histograms that requests count in; the device, which is
    // the last reference to it; and the right to have it open, for the next one to take,
    // with the permission.
    pub(crate) _latency: LatencyFile,
    pub(crate) device: Arc<BlockDevice>,
    pub(crate) bio_set: Arc<BioSet<BlockRequest>>,
    pub(crate) _opener: Opener,
    pub(crate) _grant: AccessGrant,
    /// The path by which the client opened it.
    pub(crate) path: KVec<u8>,
}

impl Opened {
    /// A device that is going to be closed on `queue`.
    pub(crate) fn new(
        queue: &WorkqueueHandle,
        held: Held,
        mode: AccessMode,
        latency: Arc<Latency>,
        files: SysfsDir,
    ) -> Result<Self> {
        let (drain, in_use) = DeferredClose::new(queue)?;
        let export = Arc::new(
            Export {
                device: held.device.clone(),
                bio_set: held.bio_set.clone(),
                mode,
                latency,
                _in_use: in_use,
            },
            GFP_KERNEL,
        )?;

        Ok(Self {
            files,
            export,
            drain,
            held,
            seen: Atomic::new(0),
        })
    }

    /// Gives it up, which is the device `id` of `devices` and not found by requests any
    /// more. Waits for callbacks of its files; the rest goes when the last request has
    /// ended, and then the client is told that `asked` for it.
    pub(crate) fn close(self, devices: Arc<Devices>, id: DeviceId, asked: Option<Request>) {
        let Self {
            files,
            export,
            drain,
            held,
            ..
        } = self;

        drop(files);
        drain.begin(held, devices, id, asked);
        // Not before, as this may be the last reference.
        drop(export);
    }

    /// What closes it.
    pub(crate) fn drain(&self) -> &Arc<DeferredClose> {
        &self.drain
    }

    /// The device for a request.
    #[inline]
    pub(crate) fn export(&self) -> Arc<Export> {
        self.export.clone()
    }

    /// The path by which the client opened it.
    pub(crate) fn path(&self) -> &[u8] {
        &self.held.path
    }

    /// Name of the device on this machine.
    pub(crate) fn device_name(&self) -> &CStr {
        self.held.device.name()
    }

    /// Which device it is.
    pub(crate) fn dev_id(&self) -> DevId {
        self.held.device.id()
    }

    /// How the client opened it.
    pub(crate) fn mode(&self) -> AccessMode {
        self.export.mode
    }

    /// Whether its size is another one than when this or [`Self::describe`] was called
    /// last. Calls must not overlap.
    pub(crate) fn has_changed(&self) -> bool {
        let now = self.held.device.sectors();
        let changed = self.seen.load(Relaxed) != now;

        self.seen.store(now, Relaxed);
        changed
    }

    /// The description of the device for the client.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a device that the protocol cannot describe.
    pub(crate) fn describe(&self, id: DeviceId) -> Result<OpenRsp> {
        let limits = self.held.device.limits();
        self.seen.store(limits.sectors, Relaxed);
        let geometry = Geometry::new(
            limits.sectors,
            limits.logical_block_size,
            limits.physical_block_size,
        )
        .map_err(|reason| Error::from_errno(-reason.errno()))?;

        // A request says its length in 32 bits of bytes, and a whole number of blocks,
        // whose size is a power of two, has to fit into that.
        let partial = geometry.logical_block_size().wrapping_sub(1);
        let most = (u32::MAX & !partial) / SECTOR_SIZE;
        // To a client that may only read, these are as good as absent.
        let range = |max: u32| {
            if self.mode().writes() {
                max.min(most)
            } else {
                0
            }
        };
        let max_discard_sectors = range(limits.max_discard_sectors);

        Ok(OpenRsp {
            device: id,
            geometry,
            max_hw_sectors: limits.max_hw_sectors,
            max_write_zeroes_sectors: range(limits.max_write_zeroes_sectors),
            max_discard_sectors,
            discard_granularity: limits.discard_granularity,
            discard_alignment: limits.discard_alignment,
            max_segments: limits.max_segments,
            secure_erase: range(limits.max_secure_erase_sectors) > 0,
            write_cache: limits.write_cache,
            fua: limits.fua,
        })
    }
}
