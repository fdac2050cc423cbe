// SPDX-License-Identifier: GPL-2.0-only

//! The devices that a session has open.
//!
//! Requests look up their device without a lock. Opening, closing and describing devices
//! take locks.
//!
//! Lock order: `opening`, then those of [`DiskRegistry`] and [`ExportAcl`]; `opening`, then
//! `table`, then that of an [`OpenDevice`]. Closing a device takes neither `opening` nor
//! `table`, so it does not wait for another device that takes long to open.

#![deny(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    async_event::EventCount,
    limits::QueueDepth,
    search_path::SearchPath,
    wire::rnbd::{
        AccessMode,
        Description,
        DeviceFlags,
        DeviceId,
        Features,
        Generation,
        OpenMsg,
        OpenRsp, //
    }, //
};

use rtrs::{
    kernel_ext::{
        log::Plain,
        ref_table::{
            RefTable,
            RefTableEntry,
            TableRef, //
        },
        workqueue::WorkqueueHandle, //
    },
    server::Request, //
};

use crate::{
    bdev::{
        self,
        BlockDevice,
        Mode, //
    },
    block_request::BackingDevice,
    device_path::DevicePathname,
    disk_registry::DiskRegistry,
    event_counter::EventCounter,
    export_acl::ExportAcl,
    export_rules::OpenError,
    id_table::{
        self,
        IdTable, //
    },
    open_device::{
        OpenDevice,
        Resources, //
    },
    params,
    rule_target::RuleTarget,
    submit_queue::SubmitQueue,
    sysfs, //
};

/// The devices of one session.
///
/// [`Self::close_all`] must be called before the last reference is dropped.
#[pin_data]
pub(crate) struct Devices {
    acl: Arc<ExportAcl>,
    search: SearchPath<'static>,
    disks: Arc<DiskRegistry>,
    /// The workqueue on which devices are closed.
    queue: WorkqueueHandle,
    /// The number of message ids.
    depth: QueueDepth,
    /// The workqueue on which devices are flushed.
    flushes: WorkqueueHandle,
    events: Arc<EventCounter>,
    /// The bits of the client's [`Features`].
    client_features: Atomic<u32>,
    /// Held while a device is opened, which may take long. The value is whether the
    /// session has ended.
    #[pin]
    opening: Mutex<bool>,
    /// Devices by id. Those that were closed stay until the next one is opened.
    #[pin]
    table: Mutex<IdTable<Arc<OpenDevice>>>,
    /// The same ids, for requests: devices that are open.
    backings: Arc<RefTable<BackingDevice>>,
}

/// A device that is open as the client requested.
pub(crate) struct OpenResult {
    /// The response to the client.
    pub(crate) response: OpenRsp,
    /// Whether this request opened it.
    pub(crate) newly_opened: bool,
}

impl Devices {
    /// Creates the devices of a session, none of which is open.
    pub(crate) fn new(
        acl: Arc<ExportAcl>,
        search: SearchPath<'static>,
        disks: Arc<DiskRegistry>,
        depth: QueueDepth,
        queue: WorkqueueHandle,
        flushes: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let table = IdTable::new()?;

        Arc::pin_init(
            try_pin_init!(Self {
                acl,
                search,
                disks,
                queue,
                depth,
                flushes,
                events: Arc::new(EventCounter::new(), GFP_KERNEL)?,
                client_features: Atomic::new(Features::NONE.bits()),
                opening <- new_mutex!(false, "rnbd_devices_opening"),
                table <- new_mutex!(table, "rnbd_devices_table"),
                backings: RefTable::new(id_table::MAX_IDS)?,
            }? Error),
            GFP_KERNEL,
        )
    }

    /// The name of the session.
    pub(crate) fn name(&self) -> &CStr {
        self.acl.name()
    }

    /// Records the features of the client.
    pub(crate) fn set_client_features(&self, features: Features) {
        self.client_features.store(features.bits(), Relaxed);
    }

    /// Returns whether the client has all of `features`.
    pub(crate) fn client_has(&self, features: Features) -> bool {
        Features::from_bits(self.client_features.load(Relaxed)).has(features)
    }

    /// The access control of the session.
    pub(crate) fn acl(&self) -> &ExportAcl {
        &self.acl
    }

    /// Returns the device `id`, for a request to use. From any context.
    #[inline]
    pub(crate) fn backing(&self, id: DeviceId) -> Option<TableRef<BackingDevice>> {
        self.backings
            .get(id_table::index(id))
            .filter(|backing| backing.id() == id)
    }

    /// Opens a device. A device that the session has open already by the same path and in
    /// the same mode is described again, for a client that retries a request whose
    /// response was lost.
    ///
    /// # Errors
    ///
    /// - `EEXIST` if the session has the device open by another path or in another mode;
    /// - `EBUSY` if the session has closed the device, which still has requests in flight, or
    ///   if this machine uses it and the parameter `refuse_in_use` is set;
    /// - `EPERM` if the mode of another opener excludes this one;
    /// - `EMFILE` if the session has too many devices open;
    /// - `ENODEV` if the session has ended;
    /// - `EOPNOTSUPP` for a zoned device;
    /// - [`OpenError::Denied`] if the rules do not allow it;
    /// - those of [`DevicePathname::new`] and [`DevicePathname::open`].
    pub(crate) fn open(&self, open: &OpenMsg<'_>) -> Result<OpenResult, OpenError> {
        let ended = self.opening.lock();

        if *ended {
            return Err(ENODEV.into());
        }
        if let Some(response) = self.describe_if_open(open) {
            return Ok(OpenResult {
                response: response?,
                newly_opened: false,
            });
        }

        let pathname = DevicePathname::new(self.search, self.acl.session()?, open.path)?;
        let device = self.open_for_reading(&pathname, open.mode)?;
        let target = RuleTarget::opened(pathname.path(), &device)?;
        let grant = self.acl.grant(target, open.mode)?;
        self.check_supported(&device, open)?;
        self.check_unused(&device, open)?;
        let device = Self::reopen_for_writing(device, &pathname, open.mode)?;
        let id = self.free_id(&device)?;
        let (opener, parent, submissions) = self.disks.add_opener(&device, open.mode)?;
        let open_device = OpenDevice::new(
            open,
            &device,
            self.acl.clone(),
            self.events.clone(),
            &self.queue,
        )?;
        let files = sysfs::create(&open_device, &parent)?;
        let (latency, latency_file) = self.disks.show_latency(self.name(), &device)?;
        let submit_queue = SubmitQueue::new(self.depth, submissions)?;
        let backing = BackingDevice::new(
            id,
            device,
            open.mode,
            submit_queue,
            latency,
            self.flushes.clone(),
        )?;
        let sectors = backing.device().sectors();
        let description = backing.describe()?;
        // A C client takes the write cache from the OPEN_RSP for which it creates the disk, and
        // from no later one. Ours, which has asynchronous events, takes it from each.
        let flushes = description.flags.has(DeviceFlags::WRITE_CACHE)
            && self.client_has(Features::ASYNC_EVENTS);

        if flushes {
            backing.client_flushes().set_known();
        }
        let backing = RefTableEntry::new(self.backings.clone(), id_table::index(id), backing)?;

        rtrs::pr_info_ratelimited!(self.acl =>
            "{}: opened '{}' ({}) as {}\n",
            self.name(),
            Plain(open.path),
            backing.device().name(),
            Plain(open.mode)
        );
        // The id is still free, as only this function inserts, and it holds `opening`.
        self.table
            .lock()
            .insert(id, open_device.clone())
            .map_err(|_| EMFILE)?;
        let resources = Resources {
            _latency_file: latency_file,
            backing,
            _opener: opener,
            _grant: grant,
        };

        open_device.opened(files, resources, sectors, description);
        Ok(OpenResult {
            response: description.open_rsp(id),
            newly_opened: true,
        })
    }

    /// Opens the block device at `pathname` for reading, if the rules allow it.
    ///
    /// They are evaluated first for the device that the path leads to, as opening one can spin
    /// up a disk, load a driver, or keep a device from being removed. The path may lead to
    /// another device a moment later, so they are evaluated once more for the one that is open.
    /// Until then it is not opened for writing, which other users may notice.
    fn open_for_reading(
        &self,
        pathname: &DevicePathname,
        mode: AccessMode,
    ) -> Result<BlockDevice, OpenError> {
        let path = pathname.path();
        // The error tells whether the device exists. A client that may not open it is told
        // `ENOENT`.
        let or_denied = |error: Error| -> OpenError {
            match RuleTarget::missing(path) {
                Ok(target) => match self.acl.check(&target, mode) {
                    Ok(()) => error.into(),
                    Err(denied) => denied,
                },
                Err(error) => error.into(),
            }
        };

        self.acl.check_any(path, mode)?;
        let id = pathname.find().map_err(or_denied)?;
        if let Some(name) = bdev::name_of(id)? {
            self.acl.check(&RuleTarget::found(path, id, &name)?, mode)?;
        }
        pathname.open(Mode::Read).map_err(or_denied)
    }

    /// Refuses a device that the protocol cannot pass on.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for a zoned device: a client would write to it as to any other.
    fn check_supported(&self, device: &BlockDevice, open: &OpenMsg<'_>) -> Result {
        if !device.limits().flags.has(DeviceFlags::HOST_MANAGED) {
            return Ok(());
        }
        rtrs::pr_err_ratelimited!(self.acl =>
            "{}: '{}' ({}) is a zoned device, which cannot be exported\n",
            self.name(),
            Plain(open.path),
            device.name()
        );
        Err(EOPNOTSUPP)
    }

    /// Looks whether this machine uses a device that the client wants to write to, and logs that.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it does, and the parameter `refuse_in_use` is set.
    fn check_unused(&self, device: &BlockDevice, open: &OpenMsg<'_>) -> Result {
        if !open.mode.writes() || !device.is_claimed() {
            return Ok(());
        }
        let refused = params::refuse_in_use();

        rtrs::pr_warn_ratelimited!(
            self.acl =>
            "{}: '{}' ({}) is in use on this machine, and {} as {}\n",
            self.name(),
            Plain(open.path),
            device.name(),
            if refused { "refused" } else { "opened nonetheless" },
            Plain(open.mode)
        );
        match refused {
            true => Err(EBUSY),
            false => Ok(()),
        }
    }

    /// Opens `device` once more for writing, if `mode` writes.
    fn reopen_for_writing(
        device: BlockDevice,
        pathname: &DevicePathname,
        mode: AccessMode,
    ) -> Result<BlockDevice> {
        if !mode.writes() {
            return Ok(device);
        }
        let writable = pathname.open(Mode::ReadWrite)?;

        // The rules were evaluated for `device`.
        match writable.id() == device.id() {
            true => Ok(writable),
            false => Err(EAGAIN),
        }
    }

    /// Returns a free id for `device`, if the session may open it beside the others.
    fn free_id(&self, device: &BlockDevice) -> Result<DeviceId> {
        let mut table = self.table.lock();

        table.retain(|other| !other.is_closed());
        for (_, other) in table.iter() {
            other.check_conflict(device.id())?;
        }
        table.vacant().ok_or(EMFILE)
    }

    /// Returns the response for a path that is open already.
    fn describe_if_open(&self, open: &OpenMsg<'_>) -> Option<Result<OpenRsp>> {
        let (id, device) =
            self.find(|device| device.is_open() && device.path() == open.path.as_bytes())?;

        if device.mode() == open.mode {
            let description = device.describe(None)?;
            Some(description.map(|description| description.open_rsp(id)))
        } else {
            Some(Err(EEXIST))
        }
    }

    /// Describes the device `id`. A client that follows descriptions tells which one its disk
    /// has `applied`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is not open.
    pub(crate) fn describe(
        &self,
        id: DeviceId,
        applied: Option<Generation>,
    ) -> Result<Description> {
        let device = self.table.lock().get(id).cloned().ok_or(ENOENT)?;

        device.describe(applied).ok_or(ENOENT)?
    }

    /// Returns a number that differs from an earlier one if a device has changed since the
    /// client was told of it, or was closed without the client's request.
    pub(crate) fn async_event(&self) -> EventCount {
        let changed = self
            .table
            .lock()
            .iter()
            .filter(|(_, device)| device.has_changed())
            .count();

        if changed > 0 {
            self.events.increment();
        }
        self.events.get()
    }

    /// Closes the device `id` once its requests have completed, and then completes
    /// `close_request`. New requests do not find the device.
    ///
    /// Closing a device that is not open succeeds: the administrator closed it, or the
    /// client sent the CLOSE twice.
    pub(crate) fn close(&self, id: DeviceId, close_request: Option<Request>) {
        let device = self.table.lock().get(id).cloned();

        match (device, close_request) {
            (Some(device), close_request) => {
                device.close(close_request);
            }
            (None, Some(request)) => request.complete(Ok(())),
            (None, None) => {}
        }
    }

    /// Closes all devices and refuses to open more: the session has ended.
    ///
    /// All requests have completed, so this takes no longer than closing the devices.
    pub(crate) fn close_all(&self) {
        *self.opening.lock() = true;

        while let Some((_, device)) = self.find(OpenDevice::is_open) {
            device.close(None);
        }
        while let Some((_, device)) = self.find(|device| !device.is_closed()) {
            device.wait_closed();
        }
    }

    /// Returns the first device that `matches`, and its id.
    fn find(&self, matches: impl Fn(&OpenDevice) -> bool) -> Option<(DeviceId, Arc<OpenDevice>)> {
        let table = self.table.lock();
        let mut found = table.iter().filter(|(_, device)| matches(device));

        found.next().map(|(id, device)| (id, device.clone()))
    }
}
