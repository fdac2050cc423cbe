// SPDX-License-Identifier: GPL-2.0-only

//! The devices that a session has open.
//!
//! Lock order: `opening`, then the lock of [`DiskRegistry`] or that of [`ExportAcl`]; and `opening`, then
//! `table`. The latter is held for a look into the table only, nothing is closed under it.
//! To close a device takes no lock but that one, so that it does not wait for another that
//! takes long to open.

#![deny(unsafe_code)]

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use rnbd_proto::async_event::EventCount;
use rnbd_proto::search_path::SearchPath;
use rnbd_proto::wire::rnbd::AccessMode;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::OpenMsg;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;
use rtrs::server::Request;

use crate::bdev::BioSet;
use crate::bdev::BlockDevice;
use crate::bdev::Mode;
use crate::deferred_close::DeferredClose;
use crate::device_path::DevicePathname;
use crate::disk_registry::DiskRegistry;
use crate::export_acl::ExportAcl;
use crate::export_rules::OpenError;
use crate::id_table::IdTable;
use crate::open_device::Export;
use crate::open_device::Held;
use crate::open_device::Opened;
use crate::rule_target::RuleTarget;
use crate::slot::DeviceSlot;
use crate::sysfs::DeviceFiles;

/// The devices of one session.
///
/// Files of open devices refer to this, so [`Self::close_all`] must be called before the
/// last other reference goes.
#[pin_data]
pub(crate) struct Devices {
    acl: Arc<ExportAcl>,
    search: SearchPath<'static>,
    disks: Arc<DiskRegistry>,
    /// The workqueue on which devices are closed.
    queue: WorkqueueHandle,
    /// Held while a device is opened, which may take long. The value is whether the
    /// session has ended.
    #[pin]
    opening: Mutex<bool>,
    #[pin]
    table: SpinLock<IdTable<DeviceSlot>>,
    /// The event count of the session. Changed under the lock of `table`.
    events: Atomic<u32>,
}

/// A device that a client wants is open.
pub(crate) struct OpenResult {
    /// The response to the client.
    pub(crate) response: OpenRsp,
    /// Whether this request opened it.
    pub(crate) newly_opened: bool,
}

impl Devices {
    /// No devices yet.
    pub(crate) fn new(
        acl: Arc<ExportAcl>,
        search: SearchPath<'static>,
        disks: Arc<DiskRegistry>,
        queue: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let table = IdTable::new()?;

        Arc::pin_init(
            pin_init!(Self {
                acl,
                search,
                disks,
                queue,
                opening <- new_mutex!(false, "rnbd_devices_opening"),
                table <- new_spinlock!(table, "rnbd_devices_table"),
                events: Atomic::new(EventCount::NONE.get()),
            }),
            GFP_KERNEL,
        )
    }

    /// Name of the session.
    pub(crate) fn name(&self) -> &CStr {
        self.acl.name()
    }

    /// What lets devices and paths in.
    pub(crate) fn acl(&self) -> &ExportAcl {
        &self.acl
    }

    /// The device `id`, for a request to use.
    #[inline]
    pub(crate) fn export(&self, id: DeviceId) -> Option<Arc<Export>> {
        Some(self.table.lock().get(id)?.opened()?.export())
    }

    /// Opens a device. A device that the session has open already by the same path and in
    /// the same mode is described again, for a client that retries a request whose
    /// response was lost.
    ///
    /// # Errors
    ///
    /// - `EEXIST` if the session has the device open by another path or in another mode;
    /// - `EBUSY` if it had, and requests of that time have not ended;
    /// - `EPERM` if others have it open such that the mode is excluded;
    /// - `EMFILE` if the session has too many devices open;
    /// - `ENODEV` if the session has ended;
    /// - [`OpenError::Denied`] if the administrator has not exported it to the client;
    /// - what [`DevicePathname::new`] and [`DevicePathname::open`] say.
    pub(crate) fn open(self: &Arc<Self>, open: &OpenMsg<'_>) -> Result<OpenResult, OpenError> {
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
        let device = Self::reopen_for_writing(device, &pathname, open.mode)?;
        let device = Arc::new(device, GFP_KERNEL)?;
        let id = {
            let table = self.table.lock();

            for (_, other) in table.iter() {
                other.admits(device.id())?;
            }
            table.vacant().ok_or(EMFILE)?
        };
        let (opener, parent) = self.disks.add_opener(&device, open.mode)?;
        let files = DeviceFiles {
            devices: self.clone(),
            id,
            mode: open.mode,
            path: copy(open.path.as_bytes())?,
        };
        let files = files.create(&parent)?;
        let path = copy(open.path.as_bytes())?;
        let (latency, latency_file) = self.disks.show_latency(self.name(), &device)?;
        let held = Held {
            _latency: latency_file,
            device,
            bio_set: Arc::new(BioSet::new()?, GFP_KERNEL)?,
            _opener: opener,
            _grant: grant,
            path,
        };
        let opened = Opened::new(&self.queue, held, open.mode, latency, files)?;
        let response = opened.describe(id)?;
        let opened = KBox::new(opened, GFP_KERNEL)?;

        rtrs::pr_info_ratelimited!(
            "{}: opened '{}' ({}) as {}\n",
            self.name(),
            Plain(open.path),
            opened.device_name(),
            Plain(open.mode)
        );
        // The id is still free, as only `open` inserts, and holds `opening`.
        let inserted = self.table.lock().insert(id, DeviceSlot::Open(opened));

        match inserted {
            Ok(()) => Ok(OpenResult {
                response,
                newly_opened: true,
            }),
            Err(_) => Err(EMFILE.into()),
        }
    }

    /// Opens the block device at `pathname` for reading, unless the rules deny the client
    /// everything.
    ///
    /// The device, and so the rules that match it, are known once it is open. Until then
    /// it is not opened for writing, which other users may notice.
    fn open_for_reading(
        &self,
        pathname: &DevicePathname,
        mode: AccessMode,
    ) -> Result<BlockDevice, OpenError> {
        self.acl.check_any(pathname.path(), mode)?;

        pathname.open(Mode::Read).or_else(|error| {
            // The error tells whether the device exists. A client that may not open it is
            // told `ENOENT`.
            self.acl
                .check(&RuleTarget::unopened(pathname.path())?, mode)?;
            Err(error.into())
        })
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

    /// Returns the response for a path that is open already.
    fn describe_if_open(&self, open: &OpenMsg<'_>) -> Option<Result<OpenRsp>> {
        let table = self.table.lock();
        let (id, opened) = table
            .iter()
            .filter_map(|(id, slot)| Some((id, slot.opened()?)))
            .find(|(_, opened)| opened.path() == open.path.as_bytes())?;

        Some(if opened.mode() == open.mode {
            opened.describe(id)
        } else {
            Err(EEXIST)
        })
    }

    /// The device `id` as it is now. `ENOENT` if it is not open.
    pub(crate) fn describe(&self, id: DeviceId) -> Result<OpenRsp> {
        let table = self.table.lock();
        let opened = table.get(id).and_then(DeviceSlot::opened).ok_or(ENOENT)?;

        opened.describe(id)
    }

    /// A number that is another one whenever a device has changed since the client was
    /// told of it, or was closed without its asking. Looks at all of them.
    pub(crate) fn async_event(&self) -> EventCount {
        let table = self.table.lock();
        let changed = table
            .iter()
            .filter_map(|(_, slot)| slot.opened())
            .filter(|opened| opened.has_changed())
            .count();

        match changed {
            0 => EventCount::new(self.events.load(Relaxed)),
            _ => self.count_event(),
        }
    }

    /// There is one more thing to tell. With the lock of `table`.
    fn count_event(&self) -> EventCount {
        let events = EventCount::new(self.events.load(Relaxed)).next();

        self.events.store(events.get(), Relaxed);
        events
    }

    /// Closes the device `id` once its requests have completed, and then completes the
    /// CLOSE `asked`. New requests do not find the device.
    ///
    /// One that is closed already, by the server's administrator or by the same message
    /// sent twice, is as closed as the client wants it.
    pub(crate) fn close(self: &Arc<Self>, id: DeviceId, asked: Option<Request>) {
        let opened = self.table.lock().get_mut(id).and_then(DeviceSlot::take);

        match (opened, asked) {
            (Some(opened), asked) => self.start_close(id, opened, asked),
            (None, Some(request)) => request.complete(Ok(())),
            (None, None) => {}
        }
    }

    /// As [`Self::close`], but notifies the client.
    /// What closes the device, unless that is over.
    pub(crate) fn force_close(self: &Arc<Self>, id: DeviceId) -> Option<Arc<DeferredClose>> {
        let (opened, drain) = {
            let mut table = self.table.lock();
            let slot = table.get_mut(id)?;
            let opened = slot.take();
            let drain = slot.drain().clone();

            if opened.is_some() {
                self.count_event();
            }
            (opened, drain)
        };

        if let Some(opened) = opened {
            self.start_close(id, opened, None);
        }
        Some(drain)
    }

    /// Closes all devices and refuses new ones: the session is over.
    ///
    /// All requests have completed, so this takes no longer than closing the devices.
    pub(crate) fn close_all(self: &Arc<Self>) {
        *self.opening.lock() = true;

        while let Some((id, ())) = self.find_first(|slot| slot.opened().map(|_| ())) {
            self.close(id, None);
        }
        while let Some((_, drain)) = self.find_first(|slot| Some(slot.drain().clone())) {
            drain.wait();
        }
    }

    /// The device `id` is closed, and what it had may be used again.
    pub(crate) fn remove(&self, id: DeviceId) {
        let slot = self.table.lock().remove(id);

        drop(slot);
    }

    /// What `f` says of the first device that it says something of.
    fn find_first<T>(&self, f: impl Fn(&DeviceSlot) -> Option<T>) -> Option<(DeviceId, T)> {
        let table = self.table.lock();
        let mut found = table.iter().filter_map(|(id, slot)| Some((id, f(slot)?)));

        found.next()
    }

    fn start_close(self: &Arc<Self>, id: DeviceId, opened: KBox<Opened>, asked: Option<Request>) {
        rtrs::pr_info_ratelimited!(
            "{}: closing '{}' ({})\n",
            self.name(),
            Plain(opened.path().escape_ascii()),
            opened.device_name()
        );
        KBox::into_inner(opened).close(self.clone(), id, asked);
    }
}

fn copy(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut copy = KVec::with_capacity(bytes.len(), GFP_KERNEL)?;

    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(copy)
}
