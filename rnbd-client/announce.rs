// SPDX-License-Identifier: GPL-2.0-only

//! Uevents when disks of a session stop working, and when they work again: `offline` and
//! `online`, as the C driver sends them.
//!
//! A work item compares the state of each device with the one that was announced last. So
//! callers only say that something may have changed, from any context.
//!
//! Lock: `devices`, taken after that of [`crate::open_devices::OpenDevices`].

#![deny(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta, //
};

use rtrs::{
    impl_has_owned_work,
    kernel_ext::{
        work::{
            self,
            OwnedWork,
            OwnedWorkItem, //
        },
        workqueue::WorkqueueHandle, //
    },
    new_owned_work, //
};

use crate::device::{
    Device,
    DeviceState, //
};

const WORK: u64 = 0;

/// How often the state of a disk that is offline is looked at.
const INTERVAL: Delta = Delta::from_secs(1);

/// The devices of a session whose state is announced.
#[pin_data]
pub(crate) struct Announcer {
    #[pin]
    devices: Mutex<KVec<Entry>>,
    #[pin]
    work: OwnedWork<Self, WORK>,
}

struct Entry {
    device: Arc<Device>,
    /// The state that was announced last.
    online: bool,
}

impl_has_owned_work! {
    impl HasOwnedWork<WORK> for Announcer { self.work }
}

impl Announcer {
    /// Creates an announcer without devices. Uevents are sent on `queue`.
    pub(crate) fn new(queue: WorkqueueHandle) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                devices <- new_mutex!(KVec::new(), "rnbd_announcer"),
                work <- new_owned_work!(queue, "rnbd_client_announce"),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds `device`, which is open. That it is online is announced with its disk.
    pub(crate) fn add(&self, device: &Arc<Device>) -> Result {
        let entry = Entry {
            device: device.clone(),
            online: true,
        };
        Ok(self.devices.lock().push(entry, GFP_KERNEL)?)
    }

    /// Removes `device`.
    pub(crate) fn remove(&self, device: &Arc<Device>) {
        self.devices
            .lock()
            .retain(|entry| !Arc::ptr_eq(&entry.device, device));
    }

    /// Has changed states announced. From any context.
    pub(crate) fn state_changed(self: &Arc<Self>) {
        // One that waits for its delay runs at once instead.
        work::reschedule_in::<_, WORK>(self, Delta::ZERO);
    }
}

impl OwnedWorkItem<WORK> for Announcer {
    fn run(this: Arc<Self>) {
        let mut devices = this.devices.lock();
        for entry in devices.iter_mut() {
            let online = match entry.device.state() {
                DeviceState::Open => true,
                DeviceState::Closed => false,
                // Its disk is being removed.
                DeviceState::Unmapped => continue,
            };
            if online != entry.online {
                entry.online = online;
                entry.device.follower.announce_state(online);
            }
        }
        let offline = devices.iter().any(|entry| !entry.online);
        drop(devices);
        if offline {
            work::schedule_in::<_, WORK>(&this, INTERVAL);
        }
    }
}
