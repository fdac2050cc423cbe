// SPDX-License-Identifier: GPL-2.0-only

//! A device that a session has open.
//!
//! [`Export`] is what requests hold while they are executed. [`Opened`] is what
//! the session holds; to close the device is to drop that, field by field.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use rnbd_proto::wire::rnbd::AccessMode;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::Geometry;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::support::debugfs::LatencyFile;
use rtrs::support::latency::Latency;
use rtrs::support::sysfs::Dir;

use crate::bdev::BlockDevice;
use crate::bdev::DevId;
use crate::bdev::SECTOR_SIZE;
use crate::disks::Share;
use crate::drain;
use crate::drain::InUse;
use crate::drain::Unused;
use crate::gate::Pass;

/// A device as requests use it.
///
/// The last reference may go in interrupt context. That closes nothing, as the
/// [`Opened`] has a reference to the device as well.
pub(crate) struct Export {
    device: Arc<BlockDevice>,
    mode: AccessMode,
    latency: Arc<Latency>,
    /// Last, so that the reference to the device is gone when this says so.
    _in_use: InUse,
}

impl Export {
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

/// A device as its session holds it. Drop closes it, and sleeps for that.
pub(crate) struct Opened {
    // Dropped in this order: the files, for which running callbacks are waited; our
    // reference for requests, and then the wait for all requests in flight; the
    // histograms that these count in; the device, which is the last reference to it; and
    // the right to have it open, for the next one to take, with the permission.
    _files: Dir,
    export: Arc<Export>,
    _unused: Unused,
    _latency: LatencyFile,
    device: Arc<BlockDevice>,
    _share: Share,
    _pass: Pass,
    path: KVec<u8>,
    /// Sectors that it had when it was looked at last.
    seen: Atomic<u64>,
}

impl Opened {
    /// Puts together what was made for a device, in the order in which it was made.
    pub(crate) fn new(
        path: KVec<u8>,
        mode: AccessMode,
        pass: Pass,
        share: Share,
        device: BlockDevice,
        files: Dir,
        latency: (Arc<Latency>, LatencyFile),
    ) -> Result<Self> {
        let (unused, in_use) = drain::pair()?;
        let (latency, latency_file) = latency;
        let device = Arc::new(device, GFP_KERNEL)?;
        let export = Arc::new(
            Export {
                device: device.clone(),
                mode,
                latency,
                _in_use: in_use,
            },
            GFP_KERNEL,
        )?;

        Ok(Self {
            _files: files,
            export,
            _unused: unused,
            _latency: latency_file,
            device,
            _share: share,
            _pass: pass,
            path,
            seen: Atomic::new(0),
        })
    }

    /// The device for a request.
    #[inline]
    pub(crate) fn export(&self) -> Arc<Export> {
        self.export.clone()
    }

    /// The path by which the client opened it.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Name of the device on this machine.
    pub(crate) fn device_name(&self) -> &CStr {
        self.device.name()
    }

    /// Which device it is.
    pub(crate) fn dev_id(&self) -> DevId {
        self.device.id()
    }

    /// How the client opened it.
    pub(crate) fn mode(&self) -> AccessMode {
        self.export.mode
    }

    /// Whether its size is another one than when this or [`Self::describe`] was called
    /// last. Calls must not overlap.
    pub(crate) fn has_changed(&self) -> bool {
        let now = self.device.sectors();
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
        let limits = self.device.limits();
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
