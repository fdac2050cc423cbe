// SPDX-License-Identifier: GPL-2.0-only

//! The parts of a mapped device, and the order in which they are created and dropped.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    text::map_device::MapOptions,
    wire::{
        name::MAX_NAME,
        rnbd::{
            Description,
            DeviceFlags, //
        }, //
    }, //
};

use rtrs::kernel_ext::{
    debugfs::LatencyFile,
    log::Plain,
    sysfs::Link, //
};

use crate::{
    capacity::Resizable,
    device::Device,
    disk_number::{
        DiskNumber,
        DiskNumbers, //
    },
    disk_sysfs::{
        DiskFiles,
        Unmap, //
    },
    follow::Followed,
    module_resources::ModuleResources,
    mq::{
        Disk,
        DiskConfig, //
    },
    open_devices::OpenDevice,
    partition_scan::scan_partitions,
    probe::probe,
    queue_limits::queue_limits,
    rtrs_session::{
        RtrsSession,
        SessionHandle, //
    }, //
};

/// How long requests in flight may take when a device is unmapped by force.
const ABORT_TIMEOUT: Delta = Delta::from_secs(5);
/// How long the adapter may take to give back the memory of requests that are withdrawn.
const WITHDRAWAL_TIMEOUT: Delta = Delta::from_secs(1);

/// A device that the server has opened and that has a disk, but no file yet by which it can be
/// unmapped. Fields are dropped in this order, see [`Mapping`].
pub(crate) struct NewMapping {
    followed: Followed,
    resizable: Resizable,
    disk: Disk<Device>,
    opened: OpenDevice,
    number: DiskNumber,
}

/// A mapped device. Fields are dropped in this order.
pub(crate) struct Mapping {
    /// The link in `ctl/devices` and the file in debugfs.
    _entries: Entries,
    /// Before the disk is removed it must not be changed or resized any more.
    _followed: Followed,
    _resizable: Resizable,
    /// The disk with its files. After its drop no callback is made.
    disk: Disk<Device>,
    rest: DisklessMapping,
}

/// The rest of a mapping after its disk was removed. Drop has the server close the device,
/// which takes as long as the server does. Fields are dropped in this order.
pub(crate) struct DisklessMapping {
    _opened: OpenDevice,
    /// Free again when no part of this mapping is left.
    number: DiskNumber,
}

/// Why a disk cannot be removed now.
#[derive(Clone, Copy)]
pub(crate) enum Busy {
    /// It is open.
    Open {
        /// Number of openers.
        openers: u32,
        /// One of them claims it, as a mounted file system does, and will keep it open.
        claimed: bool,
    },
    /// A task is opening or closing it.
    OpeningOrClosing,
}

impl Busy {
    /// Returns whether that may pass soon: a program such as udev looks at the disk.
    pub(crate) fn may_pass(self) -> bool {
        !matches!(self, Self::Open { claimed: true, .. })
    }
}

impl kernel::fmt::Display for Busy {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        match self {
            Self::Open {
                openers,
                claimed: true,
            } => f.write_fmt(fmt!("opened by {openers}, and mounted or otherwise in use")),
            Self::Open { openers, .. } => f.write_fmt(fmt!("opened by {openers}")),
            Self::OpeningOrClosing => f.write_str("a task is opening or closing it"),
        }
    }
}

/// The entries of a device outside the directory of its disk. Fields are dropped in this order.
pub(crate) struct Entries {
    /// In `ctl/devices`.
    _link: Link,
    /// In debugfs.
    _latency: LatencyFile,
}

/// Why a device was not mapped, and what the server may have to close for that.
pub(crate) type MapFailure = (Error, Option<DisklessMapping>);

impl NewMapping {
    /// Has the server open a device, and adds a disk for it. Takes as long as the server does for
    /// opening the device, and up to 10 s more for reading its partition table.
    ///
    /// Dropping what comes with an error takes as long as the server does for closing the device.
    pub(crate) fn new(
        resources: &ModuleResources,
        session: &SessionHandle,
        options: &MapOptions<'_>,
    ) -> core::result::Result<Self, MapFailure> {
        let (device, number, opened, description) =
            Self::open(resources, session, options).map_err(|err| (err, None))?;
        match Self::add_disk(resources, session, options, device, &description) {
            Ok((disk, resizable, followed)) => Ok(Self {
                followed,
                resizable,
                disk,
                opened,
                number,
            }),
            Err(err) => {
                let rest = DisklessMapping {
                    _opened: opened,
                    number,
                };
                Err((err, Some(rest)))
            }
        }
    }

    fn open(
        resources: &ModuleResources,
        session: &SessionHandle,
        options: &MapOptions<'_>,
    ) -> Result<(Arc<Device>, DiskNumber, OpenDevice, Description)> {
        let number = DiskNumbers::allocate(&resources.numbers)?;
        let device = Device::new(
            session.transport.clone(),
            session.ids.clone(),
            options.device_path.as_bytes(),
            options.access_mode,
            number.get(),
            resources.queue.clone(),
        )?;
        let (opened, description) = session.open_devices.open(&device)?;
        Ok((device, number, opened, description))
    }

    fn add_disk(
        resources: &ModuleResources,
        session: &SessionHandle,
        options: &MapOptions<'_>,
        device: Arc<Device>,
        description: &Description,
    ) -> Result<(Disk<Device>, Resizable, Followed)> {
        let number = device.number;
        probe(&device, description.geometry.sectors())?;

        let name = disk_name(number)?;
        let config = DiskConfig {
            name: &name,
            sectors: description.geometry.sectors(),
            read_only: !options.access_mode.writes()
                || description.flags.has(DeviceFlags::READ_ONLY),
            limits: queue_limits(&session.transport, description),
            io_timeout_ms: options
                .io_timeout_ms
                .unwrap_or(resources.defaults.io_timeout_ms),
        };
        let capacity = device.capacity.clone();
        let follower = device.follower.clone();
        let disk = Disk::add(session.tag_set.clone(), &config, device)?;
        let resizable = Resizable::new(capacity, disk.capacity()?)?;
        let followed = Followed::new(follower, disk.handle()?);
        scan_partitions(&resources.queue, disk.handle()?, number)?;
        pr_info!(
            "rnbd{number}: {} on session {}, {}, {} sectors, blocks of {}\n",
            Plain(options.device_path),
            Plain(options.sessname),
            Plain(options.access_mode),
            config.sectors,
            config.limits.logical_block_size
        );
        Ok((disk, resizable, followed))
    }

    /// Creates the files by which the device can be unmapped. To be called with the lock of the
    /// session, so that a writer of `unmap_device` finds the device in its list.
    pub(crate) fn create_files(
        &mut self,
        resources: &ModuleResources,
        handle: SessionHandle,
        session: Arc<dyn Unmap>,
        options: &MapOptions<'_>,
    ) -> Result<Entries> {
        let name = disk_name(self.number.get())?;
        let files = DiskFiles {
            device: self.disk.device().clone(),
            open_devices: handle.open_devices,
            session,
        };
        files.add_to(&mut self.disk)?;
        let mut link_name = [0; MAX_NAME + 1];
        let link_name = options.link.copy_to(&mut link_name);
        let link = Link::new(&resources.links, link_name, &self.disk.kobject())?;
        let latency = LatencyFile::new(&resources.debugfs, &name, &self.disk.device().latency);
        self.disk.announce();
        Ok(Entries {
            _link: link,
            _latency: latency,
        })
    }

    /// Fails I/O, for which a worker that reads the partition table may be waiting. Dropping the
    /// disk would wait for that worker.
    pub(crate) fn abort(&self) {
        let device = self.disk.device();
        device.abort();
        device.transport.kick_requeue_list();
        if !self.disk.wait_idle(ABORT_TIMEOUT) {
            withdraw_all(&self.disk);
        }
    }
}

/// Withdraws all requests in flight. Returns false if some are left.
fn withdraw_all(disk: &Disk<Device>) -> bool {
    let device = disk.device();
    disk.for_each_started(|tag| {
        device.withdraw(tag);
    });
    disk.wait_idle(WITHDRAWAL_TIMEOUT)
}

fn disk_name(number: u32) -> Result<CString> {
    CString::try_from_fmt(fmt!("rnbd{number}"))
}

impl Mapping {
    /// Puts the parts of a mapped device together.
    pub(crate) fn new(new: NewMapping, entries: Entries) -> Self {
        Self {
            _entries: entries,
            _followed: new.followed,
            _resizable: new.resizable,
            disk: new.disk,
            rest: DisklessMapping {
                _opened: new.opened,
                number: new.number,
            },
        }
    }

    /// Removes the disk, which waits for its I/O.
    pub(crate) fn remove_disk(self) -> DisklessMapping {
        // The order in which drop would take them.
        let Self {
            _entries: entries,
            _followed: followed,
            _resizable: resizable,
            disk,
            rest,
        } = self;
        drop(entries);
        drop(followed);
        drop(resizable);
        drop(disk);
        rest
    }

    /// Returns whether this is the mapping of `device`.
    pub(crate) fn is_of(&self, device: &Arc<Device>) -> bool {
        Arc::ptr_eq(self.disk.device(), device)
    }

    /// Keeps the disk from being opened again, if it is not open. Does not wait for a task
    /// that is opening or closing it: such a task can wait for I/O of the disk, without end.
    pub(crate) fn begin_unmap(&self) -> core::result::Result<(), Busy> {
        let device = self.disk.device();
        let begun = self.disk.try_with_openers(|openers| {
            if openers > 0 {
                return Err(Busy::Open {
                    openers,
                    claimed: self.disk.is_claimed(),
                });
            }
            device.begin_unmap();
            Ok(())
        });
        begun.unwrap_or(Err(Busy::OpeningOrClosing))
    }

    /// Keeps the disk from being opened again, though it may be open. After
    /// [`Mapping::abort`], as a task that opens the disk holds the lock for that, and may be
    /// waiting for I/O.
    pub(crate) fn begin_forced_unmap(&self) {
        let device = self.disk.device();
        self.disk.with_openers(|_| device.begin_unmap());
    }

    /// Fails I/O, so that removing the disk only has to wait for the requests in flight.
    ///
    /// A server that answers heartbeats but not I/O could keep these in flight forever. After
    /// [`ABORT_TIMEOUT`] the session is closed, which completes all requests; if the session is
    /// `shared` with other devices, whose I/O is to go on, the requests are withdrawn instead.
    /// Only if that is impossible the session is reconnected.
    pub(crate) fn abort(&self, session: &RtrsSession, shared: bool) {
        self.disk.device().abort();
        // Requests that wait for a path fail now.
        session.kick_requeue_list();
        if !self.disk.wait_idle(ABORT_TIMEOUT) {
            let number = self.rest.number.get();
            if !shared {
                pr_warn!("rnbd{number}: no response to its I/O, closing the session\n");
                session.close();
            } else if !withdraw_all(&self.disk) {
                pr_warn!("rnbd{number}: no response to its I/O, reconnecting the session\n");
                session.reset("no response to I/O of a device that is being unmapped");
            }
        }
        // Not earlier, as this waits for the I/O of a mounted file system.
        self.disk.mark_dead();
    }
}
