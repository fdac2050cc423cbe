// SPDX-License-Identifier: GPL-2.0-only

//! A mapped device: its id on the server and its state.

#![deny(unsafe_code)]

use core::{
    fmt,
    sync::atomic::{
        AtomicBool,
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};

use rnbd_proto::{
    reopen_failure::AbsentIo,
    wire::rnbd::{
        AccessMode,
        Description,
        DeviceId,
        DeviceIdentity, //
    }, //
};

use rtrs::{
    client::Session,
    kernel_ext::{
        latency::Latency,
        log::Plain,
        workqueue::WorkqueueHandle, //
    }, //
};

use crate::{
    capacity::Capacity,
    follow::Follower,
    message_ids::MessageIds,
    queue_limits::queue_limits,
    stall::Stall, //
};

/// In use.
const MAPPED: u32 = 0;
/// Being unmapped: the disk cannot be opened any more.
const UNMAPPING: u32 = 1;
/// Being unmapped by force: I/O fails.
const ABORTED: u32 = 2;

/// A mapped device, as its disk, its files and the control messages use it.
pub(crate) struct Device {
    /// Executes the I/O. Closed before the device is freed.
    pub(crate) transport: Arc<Session>,
    /// Path of the device on the server.
    pub(crate) path: KVec<u8>,
    /// The access mode that the device is opened with.
    pub(crate) mode: AccessMode,
    /// [`HAS_ID`] and the id on the server, which is another one each time that the server
    /// opens the device. 0 when the server does not have it open, or not as it was: I/O fails.
    server_id: AtomicU64,
    /// Name of the server's device that no other device has.
    identity: SetOnce<DeviceIdentity>,
    /// Number of its disk.
    pub(crate) number: u32,
    /// Capacity of its disk.
    pub(crate) capacity: Arc<Capacity>,
    /// Changes its disk as the server's device changes.
    pub(crate) follower: Arc<Follower>,
    /// Whether I/O waits until the server has the device, which it did not have.
    waits: AtomicBool,
    state: AtomicU32,
    /// How long requests wait for a path, and then for their completion.
    pub(crate) latency: Arc<Latency>,
    /// The message ids of its requests.
    pub(crate) ids: Arc<MessageIds>,
    /// Its requests that were withdrawn.
    pub(crate) stall: Arc<Stall>,
}

const HAS_ID: u64 = 1 << 32;

/// The content of the file `state`.
pub(crate) enum DeviceState {
    /// I/O works.
    Open,
    /// The session is disconnected, and I/O waits or fails; or the server does not have the
    /// device open, or owes responses for so long that requests were withdrawn, and I/O fails.
    Closed,
    /// The device is being unmapped.
    Unmapped,
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unmapped => "unmapped",
        })
    }
}

impl Device {
    /// Creates a device, which is ready for I/O once the server has opened it.
    pub(crate) fn new(
        transport: Arc<Session>,
        ids: Arc<MessageIds>,
        path: &[u8],
        mode: AccessMode,
        number: u32,
        queue: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(path, GFP_KERNEL)?;
        let device = Self {
            transport,
            path: copy,
            mode,
            server_id: AtomicU64::new(0),
            identity: SetOnce::new(),
            number,
            capacity: Capacity::new(number)?,
            follower: Follower::new(number, queue)?,
            waits: AtomicBool::new(false),
            state: AtomicU32::new(MAPPED),
            latency: Latency::new(["wait", "remote"])?,
            ids,
            stall: Stall::new(number)?,
        };
        Ok(Arc::new(device, GFP_KERNEL)?)
    }

    /// Returns the state that users see.
    pub(crate) fn state(&self) -> DeviceState {
        match self.state.load(Relaxed) {
            MAPPED if self.stall.is_stalled() => DeviceState::Closed,
            MAPPED if self.transport.is_connected() && self.id().is_some() => DeviceState::Open,
            MAPPED => DeviceState::Closed,
            _ => DeviceState::Unmapped,
        }
    }

    /// Returns the id on the server, if the server has the device open, or had it open when
    /// the session was lost.
    #[inline]
    pub(crate) fn id(&self) -> Option<DeviceId> {
        let server_id = self.server_id.load(Relaxed);
        // CAST: The id is in the lower half.
        (server_id != 0).then_some(DeviceId(server_id as u32))
    }

    /// Takes over the `id` of a device that the server has opened as `mode`, and that is as
    /// described.
    ///
    /// # Errors
    ///
    /// Those of [`Follower::follow_limits`].
    pub(crate) fn set_open(
        &self,
        id: DeviceId,
        description: &Description,
        mode: AccessMode,
    ) -> Result {
        if let Some(identity) = description.device_identity() {
            self.identity.populate(identity);
        }
        self.follow_limits(description)?;
        // Before the first request is sent.
        self.follower.opened(description, mode.writes());
        self.server_id.store(HAS_ID | u64::from(id.0), Relaxed);
        Ok(())
    }

    /// Gives the disk the limits that are not live; see [`Follower::follow_limits`].
    pub(crate) fn follow_limits(&self, description: &Description) -> Result {
        self.follower
            .follow_limits(&queue_limits(&self.transport, description))
    }

    /// Returns a name of the server's device that no other device has, if it is known.
    pub(crate) fn identity(&self) -> Option<&DeviceIdentity> {
        self.identity.as_ref()
    }

    /// Checks that the server's device is the one that the disk was created for, as far as both
    /// are known. The path can lead to another disk after the server was booted again.
    ///
    /// # Errors
    ///
    /// `ESTALE` if it is another one.
    pub(crate) fn check_identity(&self, description: &Description) -> Result {
        match (self.identity(), description.device_identity()) {
            (Some(disk), Some(other)) if *disk != other => {
                rtrs::pr_err_ratelimited!(u64::from(self.number) =>
                    "rnbd{}: the server's device is another disk now, {} in place of {}; unmap it and map the right one\n",
                    self.number,
                    Plain(other),
                    Plain(disk)
                );
                Err(ESTALE)
            }
            _ => Ok(()),
        }
    }

    /// Gives the disk the `sectors` that a user asks for.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the device is not open, `EFBIG` for a capacity that no disk can have.
    pub(crate) fn resize(&self, sectors: u64) -> Result {
        match self.state() {
            DeviceState::Open => self.capacity.set_by_user(sectors),
            DeviceState::Closed | DeviceState::Unmapped => Err(ENOENT),
        }
    }

    /// Checks that the server can be asked to reopen the device.
    ///
    /// # Errors
    ///
    /// `EALREADY` when it is open, `ENODEV` when it is being unmapped, `ENOTCONN` when the
    /// session has no path.
    pub(crate) fn check_closed(&self) -> Result {
        match (self.state.load(Relaxed), self.transport.is_connected()) {
            (MAPPED, false) => Err(ENOTCONN),
            (MAPPED, true) if self.id().is_some() => Err(EALREADY),
            (MAPPED, true) => Ok(()),
            _ => Err(ENODEV),
        }
    }

    /// Returns whether the server has the device open, or will once the session is
    /// reconnected.
    pub(crate) fn is_mapped(&self) -> bool {
        self.state.load(Relaxed) == MAPPED && self.id().is_some()
    }

    /// Records that the server does not have the device open any more, and returns the id that
    /// it had.
    pub(crate) fn set_closed(&self) -> Option<DeviceId> {
        let id = self.id();
        self.server_id.store(0, Relaxed);
        id
    }

    /// Records what becomes of I/O while the server does not have the device.
    pub(crate) fn set_absent(&self, io: AbsentIo) {
        self.waits.store(io == AbsentIo::Waits, Relaxed);
    }

    /// Returns whether I/O waits until the server has the device.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Relaxed) && self.state.load(Relaxed) == MAPPED
    }

    /// Keeps the disk from being opened. To be called under [`crate::mq::Disk::with_openers`].
    pub(crate) fn begin_unmap(&self) {
        // An aborted device stays aborted.
        let _ = self
            .state
            .compare_exchange(MAPPED, UNMAPPING, Relaxed, Relaxed);
    }

    /// Fails requests from now on.
    pub(crate) fn abort(&self) {
        self.state.store(ABORTED, Relaxed);
    }

    /// Returns whether requests fail.
    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.state.load(Relaxed) == ABORTED
    }
}
