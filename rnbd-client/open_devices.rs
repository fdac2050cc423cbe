// SPDX-License-Identifier: GPL-2.0-only

//! The devices that the server has open for a session.
//!
//! A server forgets its protocol version and its open devices with the last path of a session.
//! When there is a path again, versions are exchanged and all devices are reopened before I/O
//! goes on.
//!
//! A server also notifies its clients when the capacity of a device has changed, or when its
//! administrator has closed a device.

#![deny(unsafe_code)]

mod absent;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use rnbd_proto::{
    reopen_failure::ReopenFailure,
    wire::rnbd::{
        Description,
        Features, //
    }, //
};

use rtrs::{
    client::{
        Events,
        Session, //
    },
    kernel_ext::{
        log::Plain,
        noio_mutex::NoIoMutex,
        work::OwnedWork,
        workqueue::WorkqueueHandle, //
    },
    new_noio_mutex,
    new_owned_work, //
};

use crate::{
    announce::Announcer,
    control_messages,
    device::Device,
    message_ids::MessageIds, //
};

use absent::AbsentDevices;

const REOPEN: u64 = 0;

/// How often a device that stalls is looked at before it is closed.
const POLL_INTERVAL: Delta = Delta::from_millis(100);

/// The devices of one session that the server has open.
#[pin_data]
pub(crate) struct OpenDevices {
    /// Name of the session.
    name: KVec<u8>,
    /// Set when the session is connected.
    ids: SetOnce<Arc<MessageIds>>,
    announcer: Arc<Announcer>,
    /// Held while the server opens a device, so that none is missed when the session is lost
    /// in between.
    #[pin]
    list: NoIoMutex<List>,
    /// Scheduled while some of the devices are asked for again.
    #[pin]
    reopen_work: OwnedWork<Self, REOPEN>,
}

struct List {
    devices: KVec<Arc<Device>>,
    /// Those of `devices` that are asked for again.
    absent: AbsentDevices,
    /// Each device was reopened, or marked as closed, since versions were exchanged last.
    /// Otherwise ids may be those of a session that the server has forgotten.
    reopened: bool,
    /// The extensions that the server has, too.
    features: Features,
}

impl OpenDevices {
    /// Creates an empty list for the session called `name`.
    pub(crate) fn new(name: &[u8], queue: WorkqueueHandle) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name, GFP_KERNEL)?;
        let list = List {
            devices: KVec::new(),
            absent: AbsentDevices::new(),
            reopened: true,
            features: Features::NONE,
        };
        let announcer = Announcer::new(queue.clone())?;
        Arc::pin_init(
            pin_init!(Self {
                name: copy,
                ids: SetOnce::new(),
                announcer,
                list <- new_noio_mutex!(list, "rnbd_open_devices"),
                reopen_work <- new_owned_work!(queue, "rnbd_client_reopen"),
            }),
            GFP_KERNEL,
        )
    }

    /// Exchanges versions with the server for the first time.
    pub(crate) fn start(&self, session: &Session) -> Result {
        let mut list = self.list.lock_killable()?;
        list.features = control_messages::exchange_versions(session)?;
        Ok(())
    }

    /// Sets the message ids of the session.
    pub(crate) fn set_ids(&self, ids: &Arc<MessageIds>) {
        self.ids.populate(ids.clone());
    }

    /// Has the server open `device`, and keeps it open until the [`OpenDevice`] is dropped.
    /// Returns how the server describes it.
    pub(crate) fn open(
        self: &Arc<Self>,
        device: &Arc<Device>,
    ) -> Result<(OpenDevice, Description)> {
        let mut list = self.list.lock_killable()?;
        list.devices.reserve(1, GFP_KERNEL)?;
        let devices = list.devices.len() + 1;
        list.absent.reserve(devices)?;
        let (id, description) = control_messages::open(device, device.mode, list.features)?;
        device.set_open(id, &description, device.mode)?;
        device.capacity.opened(description.geometry.sectors());
        let opened = OpenDevice {
            open_devices: self.clone(),
            device: device.clone(),
        };
        let pushed = self
            .announcer
            .add(device)
            .and_then(|()| Ok(list.devices.push(device.clone(), GFP_KERNEL)?));
        // Released before `opened` may be dropped, which takes the lock.
        drop(list);
        pushed?;
        Ok((opened, description))
    }

    /// Has the server open `device`, which is in the list, once more.
    pub(crate) fn reopen(&self, device: &Device) -> Result {
        let mut list = self.list.lock_killable()?;
        control_messages::reopen(device, list.features)?;
        list.absent.remove(device);
        self.announce_reopened(device);
        Ok(())
    }

    /// Marks `device` as closed, and has the server close it.
    fn close(&self, device: &Device) {
        if let Some(id) = device.set_closed() {
            control_messages::close(&device.transport, id);
        }
        self.announcer.state_changed();
    }

    /// Tells users that the server has opened `device` once more.
    fn announce_reopened(&self, device: &Device) {
        pr_info!("rnbd{}: reopened\n", device.number);
        self.announcer.state_changed();
    }
}

impl Events for OpenDevices {
    fn disconnected(&self, waits: bool) {
        pr_warn!(
            "session {}: disconnected, I/O on its devices {}\n",
            Plain(self.name.escape_ascii()),
            if waits { "waits" } else { "fails" }
        );
        self.announcer.state_changed();
    }

    fn reconnected(self: Arc<Self>, session: &Arc<Session>) -> Result {
        let mut guard = self.list.lock_killable()?;
        let list = &mut *guard;
        list.reopened = false;
        list.features = control_messages::exchange_versions(session)?;
        for device in &list.devices {
            Self::try_reopen(list.features, &mut list.absent, device)?;
        }
        list.reopened = true;
        self.announcer.state_changed();
        let open = list.devices.iter().filter(|device| device.id().is_some());
        pr_info!(
            "session {}: reconnected, {} devices reopened\n",
            Plain(self.name.escape_ascii()),
            open.count()
        );
        self.schedule_reopen(&list.absent);
        Ok(())
    }

    fn all_paths_up(&self) {
        if let Some(ids) = self.ids.as_ref() {
            ids.reclaim();
        }
    }

    fn async_event(self: Arc<Self>, _session: &Arc<Session>) -> Result {
        let mut guard = self.list.lock();
        let list = &mut *guard;
        // The devices are going to be reopened, which updates them.
        if !list.reopened {
            return Err(ENOTCONN);
        }
        let mut ask_again = false;
        // A closed device has no id to query.
        for device in list.devices.iter().filter(|device| device.is_mapped()) {
            let result = control_messages::query(device, list.features);
            match result.map_err(|err| (err, ReopenFailure::of(-err.to_errno()))) {
                // When the disk has changed, the server must be told.
                Ok(()) => ask_again |= device.follower.is_unconfirmed(),
                Err((err, ReopenFailure::Passing)) => return Err(err),
                // The server has not forgotten the session in between: then it does not execute
                // a query before versions are exchanged, for which this lock is needed.
                Err((ENOENT, _)) => {
                    pr_warn!(
                        "rnbd{}: the server has closed it, I/O fails until remap_device\n",
                        device.number
                    );
                    device.set_closed();
                    self.announcer.state_changed();
                }
                // Closing it would wait for requests that were withdrawn.
                Err((_, ReopenFailure::Absent | ReopenFailure::LargerBlocks))
                    if device.stall.is_stalled() =>
                {
                    ask_again = true;
                }
                Err((_, ReopenFailure::Absent)) => {
                    self.close(device);
                    list.absent.add_gone(device);
                    self.schedule_reopen(&list.absent);
                }
                Err((_, ReopenFailure::LargerBlocks)) => {
                    self.close(device);
                    list.absent.add_larger_blocks(device);
                    self.schedule_reopen(&list.absent);
                }
                Err((err, ReopenFailure::Refused)) => {
                    let number = device.number;
                    rtrs::pr_err_ratelimited!(u64::from(device.number) => "rnbd{number}: cannot update its size: {err:?}\n");
                }
            }
        }
        // After the next heartbeat.
        match ask_again {
            true => Err(EAGAIN),
            false => Ok(()),
        }
    }
}

/// A device that the server has open. Drop has the server close it, once it has responded to
/// requests that were withdrawn.
pub(crate) struct OpenDevice {
    open_devices: Arc<OpenDevices>,
    device: Arc<Device>,
}

impl Drop for OpenDevice {
    fn drop(&mut self) {
        self.open_devices.announcer.remove(&self.device);
        let session = &self.device.transport;
        // The server completes CLOSE after the last request of the device, and control messages
        // for other devices would wait for that.
        while self.device.stall.is_stalled() && session.is_connected() {
            fsleep(POLL_INTERVAL);
        }
        let is_ours = |device: &Arc<Device>| Arc::ptr_eq(device, &self.device);
        let mut list = self.open_devices.list.lock();
        let index = list.devices.iter().position(is_ours);
        let entry = index.and_then(|index| list.devices.remove(index).ok());
        list.absent.remove(&self.device);
        // Under the lock: a server that lost the session starts to count ids again, and opens no
        // other device under this id until the lock is released.
        //
        // Without a connection the server closes the devices of the session by itself.
        if let (Some(id), true) = (self.device.set_closed(), session.is_connected()) {
            control_messages::close(session, id);
        }
        drop(list);
        drop(entry);
    }
}
