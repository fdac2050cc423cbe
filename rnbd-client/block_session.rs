// SPDX-License-Identifier: GPL-2.0-only

//! Sessions with a server, each shared by the devices mapped on it.
//!
//! A session is connected for its first device and closed with its last one.
//!
//! What a server takes its time for is not waited for with the lock of the session, but
//! for connecting it: so a device can be unmapped while another one is being opened.

#![deny(unsafe_code)]

use crate::claimed_name::ClaimedName;
use crate::device::Device;
use crate::mapping::Mapping;
use crate::mapping::NewMapping;
use crate::mapping::ServerSide;
use crate::mq::TagSet;
use crate::rtrs_session::RtrsSession;
use crate::rtrs_session::SessionHandle;
use crate::session_registry::SessionUser;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::time::Delta;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::text::UnmapMode;
use rnbd_proto::wire::name::SessName;
use rtrs::client::Client;
use rtrs::kernel_ext::completion::Completion;
use rtrs::kernel_ext::cpu;
use rtrs::kernel_ext::log::Plain;

/// How long the server may take to close a device before who unmaps it by force goes on.
const CLOSE_GRACE: Delta = Delta::from_secs(5);

/// A session by name. It outlives the connection.
#[pin_data]
pub(crate) struct BlockSession {
    name: KVec<u8>,
    /// The connection and the devices. Lock order: see [`crate::session_registry`].
    #[pin]
    live: Mutex<Option<Live>>,
}

/// A connected session.
///
/// Dropped in this order: disks, then the requests they share, then the
/// connection that executes these.
struct Live {
    devices: KVec<Mapping>,
    /// The path of each [`ClaimedName`]: those of `devices`, and of the ones that are on their
    /// way in or out. Not empty once the lock is released.
    places: KVec<KVec<u8>>,
    tag_set: Arc<TagSet<Device>>,
    transport: RtrsSession,
}

impl BlockSession {
    /// A session that is not connected.
    pub(crate) fn new(name: SessName<'_>) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                name: copy,
                live <- new_mutex!(None, "rnbd_session"),
            }),
            GFP_KERNEL,
        )
    }

    /// The name that both sides know it by.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Maps a device, connecting the session first if need be. `user` is one of
    /// this session.
    pub(crate) fn map(&self, user: &SessionUser, options: &MapOptions<'_>) -> Result {
        let (place, way) = self.enter(user, options)?;
        self.map_at(place, &way, options).inspect_err(|err| {
            pr_err!(
                "map_device: option device_path: {} on session {}: {:?}\n",
                Plain(options.device_path),
                Plain(options.sessname),
                err
            );
        })
    }

    fn map_at(&self, place: ClaimedName, way: &SessionHandle, options: &MapOptions<'_>) -> Result {
        let registry = place.registry().clone();
        let mut coming = NewMapping::new(way, &place, options)?;

        let mut guard = self.live.lock();
        // There, as it has the place. Who unmaps the device finds it from here on.
        let live = Option::as_mut(&mut guard).ok_or(ENOTCONN)?;
        live.devices.reserve(1, GFP_KERNEL)?;
        let shown = coming.show(&registry, options)?;
        let mapped = Mapping::new(coming, shown, place);
        let pushed = live.devices.push_within_capacity(mapped);
        // Before what was not pushed, which cannot be, as there is room.
        drop(guard);
        pushed.map_err(|_| ENOMEM)
    }

    /// Takes a place for a device.
    fn enter(
        &self,
        user: &SessionUser,
        options: &MapOptions<'_>,
    ) -> Result<(ClaimedName, SessionHandle)> {
        let mut live = self.live.lock();
        let entered = Self::enter_locked(&mut live, user, options);
        Self::close_if_unused(&mut live);
        let (path, way) = entered?;
        drop(live);
        Ok((ClaimedName::new(path, user.clone()), way))
    }

    fn enter_locked(
        live: &mut Option<Live>,
        user: &SessionUser,
        options: &MapOptions<'_>,
    ) -> Result<(KVec<u8>, SessionHandle)> {
        let live = match live {
            Some(live) => live.joined_by(options)?,
            None => live.insert(Live::connect(&user.registry().client, options)?),
        };
        if live.has(options) {
            pr_err!(
                "map_device: option device_path: {} on session {} is mapped, or not unmapped yet\n",
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
        live.places.push(copy()?, GFP_KERNEL)?;
        Ok((path, live.transport.way(live.tag_set.clone())))
    }

    /// Nothing is left of a device; to be called by its [`ClaimedName`].
    pub(crate) fn leave(&self, path: &[u8]) {
        let mut guard = self.live.lock();
        // Not there when all devices are unmapped at once.
        if let Some(live) = Option::as_mut(&mut guard) {
            live.places.retain(|place| place != path);
        }
        Self::close_if_unused(&mut guard);
    }

    /// Unmaps `device` of this session.
    ///
    /// `EBUSY` when it is open and `mode` is normal, `EALREADY` when someone
    /// else unmapped it.
    pub(crate) fn unmap(&self, device: &Arc<Device>, mode: UnmapMode) -> Result {
        let mapped = self.take(device, mode)?;
        let far = mapped.remove_disk();
        match mode {
            UnmapMode::Normal => drop(far),
            UnmapMode::Force => Self::close_soon(device, far),
        }
        Ok(())
    }

    /// Has the server close a device, for which it may take its time: it may be at another
    /// message that it does not answer.
    fn close_soon(device: &Device, far: ServerSide) {
        let queue = far.registry().queue.clone();
        let closed = Arc::pin_init(Completion::new(), GFP_KERNEL);
        let Ok(closed) = closed else {
            return drop(far);
        };
        let close = {
            let closed = closed.clone();
            move || {
                drop(far);
                closed.complete_all();
            }
        };
        // If it cannot be queued it is dropped here, and with it what it would drop.
        let waits = queue.spawn(close).is_ok() && !closed.wait_timeout(CLOSE_GRACE);
        if waits {
            pr_warn!(
                "rnbd{}: unmapped, though the server does not answer yet\n",
                device.number
            );
        }
    }

    /// Takes `device` out of the list and sees to it that its disk can be removed.
    fn take(&self, device: &Arc<Device>, mode: UnmapMode) -> Result<Mapping> {
        let mut guard = self.live.lock();
        let live = Option::as_mut(&mut guard).ok_or(EALREADY)?;
        let index = live
            .devices
            .iter()
            .position(|mapped| mapped.is(device))
            .ok_or(EALREADY)?;
        let others = live.places.len() > 1;
        let mapped = live.devices.get(index).ok_or(EALREADY)?;
        let forced = mode == UnmapMode::Force;
        if forced {
            // First, as who opens or scans the disk may be waiting for its I/O.
            mapped.abort(&live.transport, others);
        }
        mapped.retire(mode)?;
        // Without a path, I/O that nobody waits for any more must not be waited for.
        if !forced && !live.transport.is_connected() {
            mapped.abort(&live.transport, others);
        }
        live.devices.remove(index).map_err(|_| EALREADY)
    }

    /// Unmaps all devices, by force.
    pub(crate) fn unmap_all(&self) {
        // Not with the lock, which places take.
        let live = self.live.lock().take();
        if let Some(live) = live {
            live.transport.close();
            drop(live);
        }
    }

    fn close_if_unused(live: &mut Option<Live>) {
        if live.as_ref().is_some_and(|live| live.places.is_empty()) {
            *live = None;
        }
    }
}

impl Live {
    fn connect(client: &Client, options: &MapOptions<'_>) -> Result<Self> {
        if options.paths().next().is_none() {
            pr_err!(
                "map_device: option path is missing, and there is no session {}\n",
                Plain(options.sessname)
            );
            return Err(ENXIO);
        }
        let transport = RtrsSession::connect(client, options).inspect_err(|err| {
            pr_err!(
                "map_device: option path: session {} cannot be connected: {:?}\n",
                Plain(options.sessname),
                err
            );
        })?;
        Ok(Self {
            devices: KVec::new(),
            places: KVec::new(),
            tag_set: TagSet::new(
                transport.io_depth(),
                cpu::online(),
                transport.nr_poll_queues(),
            )?,
            transport,
        })
    }

    fn has(&self, options: &MapOptions<'_>) -> bool {
        let path = options.device_path.as_bytes();
        self.places.iter().any(|place| place == path)
    }

    /// Another device is going to be mapped. One that is polled needs a session of
    /// its own, as in the C driver.
    fn joined_by(&mut self, options: &MapOptions<'_>) -> Result<&mut Self> {
        let polled = options.nr_poll_queues > 0 || self.transport.nr_poll_queues() > 0;
        if !polled || self.has(options) {
            return Ok(self);
        }
        pr_err!(
            "map_device: option nr_poll_queues: a polled device needs a session of its own, {} exists\n",
            Plain(options.sessname)
        );
        Err(EINVAL)
    }
}
