// SPDX-License-Identifier: GPL-2.0-only

//! All that a mapped device consists of, and the order in which it goes.

#![deny(unsafe_code)]

use crate::capacity::Resizable;
use crate::claimed_name::ClaimedName;
use crate::device::Device;
use crate::disk_number::DiskNumber;
use crate::disk_number::DiskNumbers;
use crate::disk_number::MINORS;
use crate::disk_sysfs::DISK_FILES;
use crate::mq::Disk;
use crate::mq::DiskConfig;
use crate::mq::Limits;
use crate::mq::SECTOR_SIZE;
use crate::open_devices::Opened;
use crate::rtrs_session::RtrsSession;
use crate::rtrs_session::SessionHandle;
use crate::session_registry::SessionRegistry;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::limits::MAX_SEGMENTS;
use rnbd_proto::limits::REGISTRATION_UNIT;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::text::UnmapMode;
use rnbd_proto::wire::name::MAX_NAME;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::kernel_ext::debugfs::LatencyFile;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::sysfs::Link;

/// Where data may start and end, in bytes. Adapters take any address, but some work
/// better with whole words.
const DATA_ALIGNMENT: u32 = 4;
/// The most sectors that the block layer can name in one request.
const MOST_SECTORS: u32 = u32::MAX / SECTOR_SIZE;
/// How long I/O in flight may still take when a device is unmapped by force.
const ABORT_GRACE: Delta = Delta::from_secs(5);

/// A device that the server has opened and that has a disk, which nobody can unmap yet.
pub(crate) struct NewMapping {
    // Dropped in this order, see `Mapping`.
    resizable: Resizable,
    disk: Disk<Device>,
    opened: Opened,
    number: DiskNumber,
}

/// A mapped device. Fields are dropped in this order.
pub(crate) struct Mapping {
    /// The link in `devices`.
    _link: Link,
    /// What debugfs shows of it.
    _latency: LatencyFile,
    /// Nobody changes the size of a disk that goes.
    _resizable: Resizable,
    /// The disk with its files. Gone when it is not called any more.
    disk: Disk<Device>,
    far: ServerSide,
}

/// What is left of a mapped device without its disk. Dropping it has the server close the
/// device, which takes as long as the server does. Fields are dropped in this order.
pub(crate) struct ServerSide {
    /// The server's side.
    _opened: Opened,
    /// Free for the next one when nothing of this one is left.
    number: DiskNumber,
    /// Keeps the session connected. Not to be dropped with the lock of the session.
    place: ClaimedName,
}

impl ServerSide {
    /// Where its session is known.
    pub(crate) fn registry(&self) -> &SessionRegistry {
        self.place.registry()
    }
}

impl NewMapping {
    /// Opens a device on the server and adds a disk for it. Takes as long as the server
    /// does, for opening and to answer who looks for partitions.
    pub(crate) fn new(
        way: &SessionHandle,
        place: &ClaimedName,
        options: &MapOptions<'_>,
    ) -> Result<Self> {
        let registry = place.registry();
        let number = DiskNumbers::take(&registry.numbers)?;
        let mut path = KVec::new();
        path.extend_from_slice(options.device_path.as_bytes(), GFP_KERNEL)?;
        let device = Device::new(
            place.session().clone(),
            way.session.clone(),
            way.roster.clone(),
            path,
            options.access_mode,
            number.get(),
        )?;
        let (opened, answer) = way.roster.open(&way.session, &device)?;

        let name = disk_name(&number)?;
        let config = DiskConfig {
            major: registry.major.number(),
            first_minor: number.get().checked_mul(MINORS).ok_or(ENOSPC)?,
            minors: MINORS,
            name: &name,
            sectors: answer.geometry.sectors(),
            read_only: !options.access_mode.writes(),
            limits: limits(&way.session, &answer),
        };
        let disk = Disk::add(way.tag_set.clone(), &config, device.clone())?;
        let resizable = Resizable::new(device, disk.capacity()?)?;
        pr_info!(
            "rnbd{}: {} on session {}, {}, {} sectors, blocks of {}\n",
            number.get(),
            Plain(options.device_path),
            Plain(options.sessname),
            Plain(options.access_mode),
            config.sectors,
            config.limits.logical_block_size
        );
        Ok(Self {
            resizable,
            disk,
            opened,
            number,
        })
    }

    /// Makes the files by which it can be unmapped. To be called with the lock of the
    /// session, so that who uses them finds the device there.
    pub(crate) fn show(
        &mut self,
        registry: &SessionRegistry,
        options: &MapOptions<'_>,
    ) -> Result<DiskOnShow> {
        let device = self.disk.device().clone();
        let name = disk_name(&self.number)?;
        self.disk.add_dir(c"rnbd", device, &DISK_FILES)?;
        let mut link_name = [0; MAX_NAME + 1];
        let link_name = options.link.copy_to(&mut link_name);
        let link = Link::new(&registry.links, link_name, &self.disk.kobject())?;
        let latency = LatencyFile::new(&registry.debug, &name, &self.disk.device().latency);
        self.disk.announce();
        Ok(DiskOnShow { link, latency })
    }
}

/// Where a mapped device is shown, but for its disk.
pub(crate) struct DiskOnShow {
    link: Link,
    latency: LatencyFile,
}

fn disk_name(number: &DiskNumber) -> Result<CString> {
    CString::try_from_fmt(fmt!("rnbd{}", number.get()))
}

impl Mapping {
    /// Puts together what a device consists of.
    pub(crate) fn new(coming: NewMapping, shown: DiskOnShow, place: ClaimedName) -> Self {
        Self {
            _link: shown.link,
            _latency: shown.latency,
            _resizable: coming.resizable,
            disk: coming.disk,
            far: ServerSide {
                _opened: coming.opened,
                number: coming.number,
                place,
            },
        }
    }

    /// Takes the disk away, which waits for its I/O.
    pub(crate) fn remove_disk(self) -> ServerSide {
        // In the order in which dropping all of it would.
        let Self {
            _link: link,
            _latency: latency,
            _resizable: resizable,
            disk,
            far,
        } = self;
        drop(link);
        drop(latency);
        drop(resizable);
        drop(disk);
        far
    }

    /// Whether this is the one that `device` belongs to.
    pub(crate) fn is(&self, device: &Arc<Device>) -> bool {
        Arc::ptr_eq(self.disk.device(), device)
    }

    /// Makes sure that nobody opens it again, or fails with `EBUSY`.
    pub(crate) fn retire(&self, mode: UnmapMode) -> Result {
        let device = self.disk.device();
        self.disk.with_openers(|openers| {
            if openers > 0 && mode == UnmapMode::Normal {
                pr_err!(
                    "rnbd{}: unmap_device: opened by {}\n",
                    self.far.number.get(),
                    openers
                );
                return Err(EBUSY);
            }
            device.retire();
            Ok(())
        })
    }

    /// Fails I/O, so that removing the disk takes no longer than that what is
    /// in flight now is answered.
    ///
    /// A server that answers heartbeats but not I/O could make that take for
    /// ever. `transport` is closed then, which ends all I/O; if it has `others`,
    /// whose I/O is to go on, it is connected anew instead.
    pub(crate) fn abort(&self, transport: &RtrsSession, others: bool) {
        let device = self.disk.device();
        device.abort();
        // What waits for a path fails now.
        device.transport.kick_requeue_list();
        if !self.disk.wait_idle(ABORT_GRACE) {
            pr_warn!(
                "rnbd{}: I/O is not answered, {} the session\n",
                self.far.number.get(),
                if others { "reconnecting" } else { "closing" }
            );
            if others {
                transport.reset("I/O of a device that is unmapped is not answered");
            } else {
                transport.close();
            }
        }
        // Not before, as this waits for I/O of a file system that is mounted.
        self.disk.mark_dead();
    }
}

/// What the server's device and the transport allow.
fn limits(transport: &rtrs::client::Session, answer: &OpenRsp) -> Limits {
    Limits {
        logical_block_size: answer.geometry.logical_block_size(),
        physical_block_size: answer.geometry.physical_block_size(),
        // The server splits what its device cannot take at once.
        max_io_size: transport.max_io_size(),
        max_segments: transport.max_segments().min(MAX_SEGMENTS as u16),
        virt_boundary: REGISTRATION_UNIT,
        dma_alignment: DATA_ALIGNMENT,
        max_discard_sectors: answer.max_discard_sectors,
        discard_granularity: answer.discard_granularity,
        discard_alignment: answer.discard_alignment,
        // How much at a time is not told; the server splits that, too.
        max_secure_erase_sectors: match (answer.secure_erase, answer.max_discard_sectors) {
            (true, 0) => MOST_SECTORS,
            (true, most) => most,
            (false, _) => 0,
        },
        max_write_zeroes_sectors: answer.max_write_zeroes_sectors,
        write_cache: answer.write_cache,
        fua: answer.fua,
    }
}
