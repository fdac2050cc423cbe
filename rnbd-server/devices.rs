// SPDX-License-Identifier: GPL-2.0-only

//! The devices that a session has open.
//!
//! Lock order: `admin`, then the lock of [`Disks`] or that of [`ExportAcl`]; and `admin`, then
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

use crate::bdev::BlockDevice;
use crate::bdev::Mode;
use crate::deferred_close::DeferredClose;
use crate::device_path::DevicePathname;
use crate::disks::Disks;
use crate::export::Export;
use crate::export::Held;
use crate::export::Opened;
use crate::export_acl::ExportAcl;
use crate::export_rules::OpenError;
use crate::files::ExportFiles;
use crate::id_table::IdTable;
use crate::rule_target::RuleTarget;
use crate::slot::DeviceSlot;

/// The devices of one session.
///
/// Files of open devices refer to this, so [`Self::end`] must be called before the
/// last other reference goes.
#[pin_data]
pub(crate) struct Devices {
    gate: Arc<ExportAcl>,
    search: SearchPath<'static>,
    disks: Arc<Disks>,
    /// Where devices are closed.
    queue: WorkqueueHandle,
    /// Held while a device is opened, which may take long. The value is whether the
    /// session has ended.
    #[pin]
    admin: Mutex<bool>,
    #[pin]
    table: SpinLock<IdTable<DeviceSlot>>,
    /// How the news of the session stands. Changed under the lock of `table`.
    news: Atomic<u32>,
}

/// A device that a client wants is open.
pub(crate) struct Opening {
    /// What the client is told.
    pub(crate) answer: OpenRsp,
    /// Whether it was not before.
    pub(crate) fresh: bool,
}

impl Devices {
    /// No devices yet.
    pub(crate) fn new(
        gate: Arc<ExportAcl>,
        search: SearchPath<'static>,
        disks: Arc<Disks>,
        queue: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let table = IdTable::new()?;

        Arc::pin_init(
            pin_init!(Self {
                gate,
                search,
                disks,
                queue,
                admin <- new_mutex!(false, "rnbd_devices_admin"),
                table <- new_spinlock!(table, "rnbd_devices_table"),
                news: Atomic::new(EventCount::NONE.get()),
            }),
            GFP_KERNEL,
        )
    }

    /// Name of the session.
    pub(crate) fn name(&self) -> &CStr {
        self.gate.name()
    }

    /// What lets devices and paths in.
    pub(crate) fn gate(&self) -> &ExportAcl {
        &self.gate
    }

    /// The device `id`, for a request to use.
    #[inline]
    pub(crate) fn export(&self, id: DeviceId) -> Option<Arc<Export>> {
        Some(self.table.lock().get(id)?.opened()?.export())
    }

    /// Opens a device. One that the session has open already by the same path and in
    /// the same mode is just described again: that is what a client does that is not
    /// sure whether an earlier request was answered.
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
    pub(crate) fn open(self: &Arc<Self>, open: &OpenMsg<'_>) -> Result<Opening, OpenError> {
        let ended = self.admin.lock();

        if *ended {
            return Err(ENODEV.into());
        }
        if let Some(answer) = self.again(open) {
            return Ok(Opening {
                answer: answer?,
                fresh: false,
            });
        }

        let place = DevicePathname::new(self.search, self.gate.session()?, open.path)?;
        let device = self.find(&place, open.mode)?;
        let subject = RuleTarget::opened(place.path(), &device)?;
        let pass = self.gate.admit(subject, open.mode)?;
        let device = Self::for_writing(device, &place, open.mode)?;
        let device = Arc::new(device, GFP_KERNEL)?;
        let id = {
            let table = self.table.lock();

            for (_, other) in table.iter() {
                other.admits(device.id())?;
            }
            table.vacant().ok_or(EMFILE)?
        };
        let (share, place) = self.disks.share(&device, open.mode)?;
        let files = ExportFiles {
            devices: self.clone(),
            id,
            mode: open.mode,
            path: copy(open.path.as_bytes())?,
        };
        let files = files.create(&place)?;
        let path = copy(open.path.as_bytes())?;
        let (latency, latency_file) = self.disks.show_latency(self.name(), &device)?;
        let held = Held {
            _latency: latency_file,
            device,
            _share: share,
            _pass: pass,
            path,
        };
        let opened = Opened::new(&self.queue, held, open.mode, latency, files)?;
        let answer = opened.describe(id)?;
        let opened = KBox::new(opened, GFP_KERNEL)?;

        rtrs::pr_info_ratelimited!(
            "{}: opened '{}' ({}) as {}\n",
            self.name(),
            Plain(open.path),
            opened.device_name(),
            Plain(open.mode)
        );
        // The id is still free: who uses one holds `admin`.
        let rest = self.table.lock().insert(id, DeviceSlot::Open(opened));

        match rest {
            Ok(()) => Ok(Opening {
                answer,
                fresh: true,
            }),
            Err(_) => Err(EMFILE.into()),
        }
    }

    /// Opens the block device at `place` to be read, if there is a chance that the client
    /// may have it.
    ///
    /// Which device it is, and so which rules speak of it, is known once it is open. Until
    /// then it is not opened for writing, which others may notice.
    fn find(&self, place: &DevicePathname, mode: AccessMode) -> Result<BlockDevice, OpenError> {
        self.gate.expect_any(place.path(), mode)?;

        place.open(Mode::Read).or_else(|error| {
            // What is there, and what is wrong with it, is for those to know who may have
            // it. To others nothing is there.
            self.gate.check(&RuleTarget::unknown(place.path())?, mode)?;
            Err(error.into())
        })
    }

    /// `device` as the client is to have it, which may have it in `mode`.
    fn for_writing(
        device: BlockDevice,
        place: &DevicePathname,
        mode: AccessMode,
    ) -> Result<BlockDevice> {
        if !mode.writes() {
            return Ok(device);
        }
        let writable = place.open(Mode::ReadWrite)?;

        // What was decided about is that one.
        match writable.id() == device.id() {
            true => Ok(writable),
            false => Err(EAGAIN),
        }
    }

    /// The answer for a path that is open already.
    fn again(&self, open: &OpenMsg<'_>) -> Option<Result<OpenRsp>> {
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
            0 => EventCount::new(self.news.load(Relaxed)),
            _ => self.count_news(),
        }
    }

    /// There is one more thing to tell. With the lock of `table`.
    fn count_news(&self) -> EventCount {
        let news = EventCount::new(self.news.load(Relaxed)).next();

        self.news.store(news.get(), Relaxed);
        news
    }

    /// Closes the device `id` when all requests for it are finished, and then answers the
    /// request that `asked` for it, if one did. No new one finds it from here on.
    ///
    /// One that is closed already, by the server's administrator or by the same message
    /// sent twice, is as closed as the client wants it.
    pub(crate) fn close(self: &Arc<Self>, id: DeviceId, asked: Option<Request>) {
        let opened = self.table.lock().get_mut(id).and_then(DeviceSlot::take);

        match (opened, asked) {
            (Some(opened), asked) => self.give_up(id, opened, asked),
            (None, Some(request)) => request.complete(Ok(())),
            (None, None) => {}
        }
    }

    /// As [`Self::close`], though the client did not ask for it, which is news for it.
    /// What closes the device, unless that is over.
    pub(crate) fn force_close(self: &Arc<Self>, id: DeviceId) -> Option<Arc<DeferredClose>> {
        let (opened, drain) = {
            let mut table = self.table.lock();
            let slot = table.get_mut(id)?;
            let opened = slot.take();
            let drain = slot.drain().clone();

            if opened.is_some() {
                self.count_news();
            }
            (opened, drain)
        };

        if let Some(opened) = opened {
            self.give_up(id, opened, None);
        }
        Some(drain)
    }

    /// Closes all devices and refuses new ones: the session is over.
    ///
    /// All requests were answered, so that it takes no longer than closing the devices.
    pub(crate) fn end(self: &Arc<Self>) {
        *self.admin.lock() = true;

        while let Some((id, ())) = self.any(|slot| slot.opened().map(|_| ())) {
            self.close(id, None);
        }
        while let Some((_, drain)) = self.any(|slot| Some(slot.drain().clone())) {
            drain.wait();
        }
    }

    /// The device `id` is closed, and what it had may be used again.
    pub(crate) fn forget(&self, id: DeviceId) {
        let slot = self.table.lock().remove(id);

        drop(slot);
    }

    /// What `f` says of the first device that it says something of.
    fn any<T>(&self, f: impl Fn(&DeviceSlot) -> Option<T>) -> Option<(DeviceId, T)> {
        let table = self.table.lock();
        let mut found = table.iter().filter_map(|(id, slot)| Some((id, f(slot)?)));

        found.next()
    }

    fn give_up(self: &Arc<Self>, id: DeviceId, opened: KBox<Opened>, asked: Option<Request>) {
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
