// SPDX-License-Identifier: GPL-2.0-only

//! Sessions with a server, each shared by the devices mapped on it.
//!
//! A session is connected for its first device and closed with its last one.
//!
//! # Lock order
//!
//! 1. `BlockSession::connected`, one for each session, held while the session is connected or
//!    closed, and for the steps of mapping and unmapping a device that do not wait for the
//!    server. Opening a device, adding and removing its disk, and closing it happen without the
//!    lock, so that a device can be unmapped while another one is being opened.
//! 2. `BlockSession::failed`, `SessionRegistry::entries` and `DiskNumbers::pool`, held for
//!    look-ups only.
//!
//! Files of disks other than `unmap_device` take neither, as removing a disk
//! waits for them. I/O takes no lock at all.

#![deny(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

use rnbd_proto::{
    text::{
        map_device::MapOptions,
        UnmapMode, //
    },
    wire::name::SessName, //
};

use rtrs::kernel_ext::{
    killable,
    log::Plain, //
};

use crate::{
    background,
    device::Device,
    disk_sysfs::Unmap,
    failed_connect::FailedConnect,
    mapping::{
        Busy,
        Mapping,
        NewMapping, //
    },
    module_resources::ModuleResources,
    rtrs_session::{
        RtrsSession,
        SessionHandle, //
    },
    session_registry::{
        Named,
        SessionRegistry,
        SessionUser, //
    }, //
};

/// How long unmapping waits for the server to close the device. It takes as long if the
/// server first opens other ones.
const CLOSE_TIMEOUT: Delta = Delta::from_secs(60);

/// The same, when unmapping by force.
const FORCED_CLOSE_TIMEOUT: Delta = Delta::from_secs(5);

/// How long unmapping waits for programs that have the disk open without claiming it, as udev
/// does for a moment after each writer has closed it.
const OPENER_PATIENCE: Delta = Delta::from_secs(3);

/// How often it looks whether they have closed it.
const OPENER_INTERVAL: Delta = Delta::from_millis(10);

/// The sessions of this module.
pub(crate) type Sessions = SessionRegistry<BlockSession>;

/// A session by name. It outlives the connection.
#[pin_data]
pub(crate) struct BlockSession {
    name: KVec<u8>,
    resources: Arc<ModuleResources>,
    /// The connection and the devices, `None` while there is no device.
    #[pin]
    connected: Mutex<Option<Connected>>,
    /// The last attempt to connect, if it failed. Changed with the lock of `connected` only.
    #[pin]
    failed: Mutex<Option<FailedConnect>>,
}

/// The connection of a session, and its devices. Fields are dropped in this order: first the
/// disks, then the connection that executes their requests.
struct Connected {
    devices: KVec<MappedDevice>,
    /// The device path of each [`DeviceClaim`]: those of `devices`, and of devices that are
    /// being mapped or unmapped. Not empty when the lock is released.
    claimed: KVec<KVec<u8>>,
    rtrs: RtrsSession,
}

/// A mapped device and its claim. Fields are dropped in this order.
struct MappedDevice {
    mapping: Mapping,
    claim: DeviceClaim,
}

/// Keeps the session connected, and keeps other mappings of the same device path out of the
/// session, from the beginning of `map_device` until no part of the device is left.
///
/// Drop takes `BlockSession::connected`, and closes the session with its last claim.
struct DeviceClaim {
    path: KVec<u8>,
    /// Dropped after the session was closed, so that its name is in use until then.
    user: SessionUser<BlockSession>,
}

impl Drop for DeviceClaim {
    fn drop(&mut self) {
        self.user.release(&self.path);
    }
}

impl Named for BlockSession {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

impl BlockSession {
    /// Creates a session that is not connected.
    pub(crate) fn new(name: SessName<'_>, resources: Arc<ModuleResources>) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                name: copy,
                resources,
                connected <- new_mutex!(None, "rnbd_session"),
                failed <- new_mutex!(None, "rnbd_failed"),
            }),
            GFP_KERNEL,
        )
    }

    /// Maps a device, and connects the session first if it is not connected.
    pub(crate) fn map(user: &SessionUser<Self>, options: &MapOptions<'_>) -> Result {
        let (claim, handle) = Self::claim(user, options)?;
        Self::map_claimed(claim, handle, options).inspect_err(|err| {
            pr_err!(
                "map_device: option device_path: {} on session {}: {:?}\n",
                Plain(options.device_path),
                Plain(options.sessname),
                err
            );
        })
    }

    fn map_claimed(claim: DeviceClaim, handle: SessionHandle, options: &MapOptions<'_>) -> Result {
        let session = claim.user.session();
        let mut new = match NewMapping::new(&session.resources, &handle, options) {
            Ok(new) => new,
            Err((err, rest)) => {
                // As in `unmap`. A writer that is being killed does not wait for it.
                let rest = (rest, handle, claim);
                background::drop_within(&session.resources.queue, rest, CLOSE_TIMEOUT);
                return Err(err);
            }
        };

        let mut guard = session.connected.lock();
        // Connected, as it has the claim. From here on `unmap_device` finds the device.
        let connected = Option::as_mut(&mut guard).ok_or(ENOTCONN)?;
        connected.devices.reserve(1, GFP_KERNEL)?;
        let entries = new
            .create_files(&session.resources, handle, session.clone(), options)
            .inspect_err(|_| new.abort())?;
        let mapping = Mapping::new(new, entries);
        let pushed = connected
            .devices
            .push_within_capacity(MappedDevice { mapping, claim });
        // Released before a device that was not pushed is dropped.
        drop(guard);
        pushed.map_err(|_| ENOMEM)
    }

    /// Claims the device path of `options`.
    fn claim(
        user: &SessionUser<Self>,
        options: &MapOptions<'_>,
    ) -> Result<(DeviceClaim, SessionHandle)> {
        let since = Instant::now();
        // Another writer may be connecting the session, for as long as its paths take.
        let mut connected = killable::lock(&user.connected)?;
        let claimed = user.claim_locked(&mut connected, options, since);
        Self::close_if_unused(&mut connected);
        let (path, handle) = claimed?;
        drop(connected);
        let user = user.clone();
        Ok((DeviceClaim { path, user }, handle))
    }

    fn claim_locked(
        &self,
        connected: &mut Option<Connected>,
        options: &MapOptions<'_>,
        since: Instant<Monotonic>,
    ) -> Result<(KVec<u8>, SessionHandle)> {
        let connected = match connected {
            Some(connected) => {
                connected.check_polling(options)?;
                connected.rtrs.check_paths(options)?;
                connected.rtrs.check_settings(options)?;
                connected
            }
            None => connected.insert(Connected {
                devices: KVec::new(),
                claimed: KVec::new(),
                rtrs: self.connect(options, since)?,
            }),
        };
        if connected.has(options) {
            pr_err!(
                "map_device: option device_path: {} on session {} is mapped already, or still being unmapped\n",
                Plain(options.device_path),
                Plain(options.sessname)
            );
            return Err(EEXIST);
        }
        let copy = || {
            let mut path = KVec::new();
            path.extend_from_slice(options.device_path.as_bytes(), GFP_KERNEL)?;
            Ok::<_, Error>(path)
        };
        let path = copy()?;
        connected.claimed.push(copy()?, GFP_KERNEL)?;
        Ok((path, connected.rtrs.handle()))
    }

    /// Connects the session. Fails at once if the writer, which has waited since `since`, has
    /// seen another one fail. With the lock of `connected`.
    fn connect(&self, options: &MapOptions<'_>, since: Instant<Monotonic>) -> Result<RtrsSession> {
        let failed = self.failed.lock();
        let attempt = Option::as_ref(&failed);
        let answer = attempt.map(|attempt| attempt.answer(options, since));
        drop(failed);
        if let Some(error) = answer.transpose()?.flatten() {
            pr_err!(
                "map_device: option path: session {} could not be connected: {:?}\n",
                Plain(options.sessname),
                error
            );
            return Err(error);
        }
        let connected = RtrsSession::connect(&self.resources, options);
        let failed = connected.as_ref().err();
        *self.failed.lock() = failed.and_then(|err| FailedConnect::new(options, *err));
        connected
    }

    /// Releases a claim.
    fn release(&self, path: &[u8]) {
        let mut guard = self.connected.lock();
        // `None` during `unmap_all`.
        if let Some(connected) = Option::as_mut(&mut guard) {
            connected.claimed.retain(|claimed| claimed != path);
        }
        Self::close_if_unused(&mut guard);
    }

    /// Takes `device` out of the list, after making sure that its disk can be removed.
    fn take(&self, device: &Arc<Device>, mode: UnmapMode) -> Result<MappedDevice> {
        let since = Instant::<Monotonic>::now();
        loop {
            let busy = match self.try_take(device, mode)? {
                Ok(taken) => return Ok(taken),
                Err(busy) => busy,
            };
            if !busy.may_pass() || since.elapsed() >= OPENER_PATIENCE {
                pr_err!("rnbd{}: unmap_device: {busy}\n", device.number);
                return Err(EBUSY);
            }
            // Without the lock, so that others can unmap by force meanwhile.
            killable::sleep(OPENER_INTERVAL)?;
        }
    }

    /// As [`BlockSession::take`], without waiting for openers.
    fn try_take(
        &self,
        device: &Arc<Device>,
        mode: UnmapMode,
    ) -> Result<core::result::Result<MappedDevice, Busy>> {
        let mut guard = killable::lock(&self.connected)?;
        let connected = Option::as_mut(&mut guard).ok_or(EALREADY)?;
        let index = connected
            .devices
            .iter()
            .position(|entry| entry.mapping.is_of(device))
            .ok_or(EALREADY)?;
        let shared = connected.claimed.len() > 1;
        let mapping = &connected.devices.get(index).ok_or(EALREADY)?.mapping;
        match mode {
            UnmapMode::Force => {
                mapping.abort(&connected.rtrs, shared);
                mapping.begin_forced_unmap();
            }
            UnmapMode::Normal => {
                let waits = device.waits();
                if let Err(busy) = mapping.begin_unmap() {
                    return Ok(Err(busy));
                }
                // Without a path or its device I/O may wait for long, and there is no opener
                // left that needs it.
                if !connected.rtrs.is_connected() || waits {
                    mapping.abort(&connected.rtrs, shared);
                }
            }
        }
        connected
            .devices
            .remove(index)
            .map(Ok)
            .map_err(|_| EALREADY)
    }

    /// Unmaps all devices by force.
    pub(crate) fn unmap_all(&self) {
        // Dropped without the lock, which dropping a claim takes.
        let connected = self.connected.lock().take();
        if let Some(connected) = connected {
            connected.rtrs.close();
            drop(connected);
        }
    }

    fn close_if_unused(connected: &mut Option<Connected>) {
        if connected
            .as_ref()
            .is_some_and(|connected| connected.claimed.is_empty())
        {
            *connected = None;
        }
    }
}

impl Unmap for BlockSession {
    fn unmap(&self, device: &Arc<Device>, mode: UnmapMode) -> Result {
        let MappedDevice { mapping, claim } = self.take(device, mode)?;
        let rest = (mapping.remove_disk(), claim);
        // The server may take long to close the device: it handles one control message at a
        // time, and may be busy with an earlier one. Nor is it asked to before it has responded
        // to all requests.
        let limit = match mode {
            UnmapMode::Normal if !device.stall.is_stalled() => CLOSE_TIMEOUT,
            UnmapMode::Normal | UnmapMode::Force => FORCED_CLOSE_TIMEOUT,
        };
        if !background::drop_within(&self.resources.queue, rest, limit) {
            pr_warn!(
                "rnbd{}: unmapped, but the server has not closed it yet\n",
                device.number
            );
        }
        Ok(())
    }
}

impl Connected {
    fn has(&self, options: &MapOptions<'_>) -> bool {
        let path = options.device_path.as_bytes();
        self.claimed.iter().any(|claimed| claimed == path)
    }

    /// Checks that polled queues are not asked for on a session that has other devices. As in
    /// the C driver, a polled device needs a session of its own.
    fn check_polling(&self, options: &MapOptions<'_>) -> Result {
        let polled = options.nr_poll_queues > 0 || self.rtrs.nr_poll_queues() > 0;
        if !polled || self.has(options) {
            return Ok(());
        }
        pr_err!(
            "map_device: option nr_poll_queues: a polled device needs a session of its own, {} exists\n",
            Plain(options.sessname)
        );
        Err(EINVAL)
    }
}
