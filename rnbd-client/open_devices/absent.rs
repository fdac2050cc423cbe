// SPDX-License-Identifier: GPL-2.0-only

//! Devices that the server does not have, or not for the disk as it is. They are asked for again
//! until they are there.
//!
//! - The server did not have it when the session was connected again, as its disks can appear later
//!   than the server itself. I/O of such a device waits for as long as I/O of a session waits for a
//!   path.
//! - It has gone while it was open, as a disk that was pulled. Its I/O fails at once.
//! - It has larger blocks than its disk, which was open when that was found out. Its I/O fails at
//!   once; the server is asked when the disk is not open any more, and can take over the blocks.
//!
//! I/O of other devices goes on.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use rnbd_proto::{
    reopen_failure::{
        ask_again_after,
        AbsentIo,
        ReopenFailure, //
    },
    wire::rnbd::Features, //
};

use rtrs::{
    impl_has_owned_work,
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    }, //
};

use crate::{
    control_messages,
    device::Device, //
};

use super::{
    OpenDevices,
    REOPEN, //
};

/// The devices of a session that are asked for again. There is room for each of its devices.
pub(super) struct AbsentDevices(KVec<Absent>);

struct Absent {
    device: Arc<Device>,
    since: Instant<Monotonic>,
    /// It is there, but not for a disk that is open.
    larger_blocks: bool,
}

impl Absent {
    fn seconds(&self) -> i64 {
        self.since.elapsed().as_millis() / 1000
    }
}

impl AbsentDevices {
    pub(super) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Makes room for `devices` devices.
    pub(super) fn reserve(&mut self, devices: usize) -> Result {
        let additional = devices.saturating_sub(self.0.len());
        Ok(self.0.reserve(additional, GFP_KERNEL)?)
    }

    fn has(&self, device: &Arc<Device>) -> bool {
        self.0
            .iter()
            .any(|absent| Arc::ptr_eq(&absent.device, device))
    }

    /// Adds `device`, which the server did not have when the session was connected again. Its I/O
    /// waits or fails from now on. One that is in the list keeps its time.
    fn add(&mut self, device: &Arc<Device>) {
        if self.has(device) {
            return;
        }
        let io = AbsentIo::after(0, device.transport.settings().fast_io_fail_tmo);
        rtrs::pr_warn_ratelimited!(u64::from(device.number) =>
            "rnbd{}: the server does not have it yet and is asked again, I/O {}\n",
            device.number,
            match io {
                AbsentIo::Waits => "waits",
                AbsentIo::Fails => "fails",
            }
        );
        self.push(device, io, false);
    }

    /// Adds `device`, which was open and has gone. Its I/O fails from now on.
    pub(super) fn add_gone(&mut self, device: &Arc<Device>) {
        pr_warn!(
            "rnbd{}: the server's device is gone and is asked for again, I/O fails until it is back\n",
            device.number
        );
        self.push(device, AbsentIo::Fails, false);
    }

    /// Adds `device`, which has larger blocks than its disk. Its I/O fails from now on. One that is
    /// in the list keeps its time.
    pub(super) fn add_larger_blocks(&mut self, device: &Arc<Device>) {
        let is_same = |absent: &&mut Absent| Arc::ptr_eq(&absent.device, device);
        match self.0.iter_mut().find(is_same) {
            Some(known) if known.larger_blocks => return,
            Some(known) => {
                known.larger_blocks = true;
                device.set_absent(AbsentIo::Fails);
            }
            None => self.push(device, AbsentIo::Fails, true),
        }
        pr_warn!(
            "rnbd{}: the server's device has larger blocks now, I/O fails until the disk is not open any more\n",
            device.number
        );
    }

    fn push(&mut self, device: &Arc<Device>, io: AbsentIo, larger_blocks: bool) {
        device.set_absent(io);
        // Only without room, which `reserve` has made.
        let _ = self.0.push_within_capacity(Absent {
            device: device.clone(),
            since: Instant::now(),
            larger_blocks,
        });
    }

    /// Removes `device`, which is open, lost or unmapped. Its I/O does not wait any more.
    pub(super) fn remove(&mut self, device: &Device) {
        let is_other = |absent: &mut Absent| !core::ptr::eq(&*absent.device, device);
        self.0.retain(is_other);
        device.set_absent(AbsentIo::Fails);
    }

    /// Lets I/O fail that has waited for long enough.
    fn expire(&self) {
        for absent in &self.0 {
            let device = &absent.device;
            let tmo = device.transport.settings().fast_io_fail_tmo;
            let seconds = absent.seconds();
            if device.waits() && AbsentIo::after(seconds, tmo) == AbsentIo::Fails {
                pr_warn!(
                    "rnbd{}: the server does not have it for {seconds} s, I/O fails until it has\n",
                    device.number
                );
                device.set_absent(AbsentIo::Fails);
            }
        }
    }
}

impl OpenDevices {
    /// Has the server open `device` once more, after the session was connected again. A device
    /// that is absent or refused is marked as closed.
    ///
    /// # Errors
    ///
    /// Only [`ReopenFailure::Passing`] ones.
    pub(super) fn try_reopen(
        features: Features,
        absent: &mut AbsentDevices,
        device: &Arc<Device>,
    ) -> Result {
        let result = control_messages::reopen(device, features);
        match result.map_err(|err| (err, ReopenFailure::of(-err.to_errno()))) {
            Ok(()) => absent.remove(device),
            Err((err, ReopenFailure::Passing)) => return Err(err),
            Err((_, ReopenFailure::Absent)) => {
                device.set_closed();
                absent.add(device);
            }
            Err((_, ReopenFailure::LargerBlocks)) => {
                device.set_closed();
                absent.add_larger_blocks(device);
            }
            Err((err, ReopenFailure::Refused)) => {
                rtrs::pr_err_ratelimited!(u64::from(device.number) =>
                    "rnbd{}: the server cannot reopen it: {err:?}; I/O fails until remap_device\n",
                    device.number
                );
                device.set_closed();
                absent.remove(device);
            }
        }
        Ok(())
    }

    /// Has absent devices, if there are any, asked for after a while.
    pub(super) fn schedule_reopen(self: &Arc<Self>, absent: &AbsentDevices) {
        let intervals = absent
            .0
            .iter()
            .map(|absent| ask_again_after(absent.seconds()));
        if let Some(seconds) = intervals.min() {
            work::schedule_in::<_, REOPEN>(self, Delta::from_secs(seconds));
        }
    }
}

impl_has_owned_work! { impl HasOwnedWork<REOPEN> for OpenDevices { self.reopen_work } }

impl OwnedWorkItem<REOPEN> for OpenDevices {
    fn run(this: Arc<Self>) {
        let mut guard = this.list.lock();
        let list = &mut *guard;
        // Without a path, all devices are going to be opened again.
        if list.reopened {
            let mut index = 0;
            while let Some(absent) = list.absent.0.get(index) {
                let device = absent.device.clone();
                if absent.larger_blocks && device.follower.is_open() {
                    index += 1;
                    continue;
                }
                // The session is about to be connected again.
                if Self::try_reopen(list.features, &mut list.absent, &device).is_err() {
                    break;
                }
                if device.id().is_some() {
                    this.announce_reopened(&device);
                }
                if list.absent.has(&device) {
                    index += 1;
                }
            }
        }
        list.absent.expire();
        this.schedule_reopen(&list.absent);
    }
}
