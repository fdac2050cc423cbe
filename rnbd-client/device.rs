// SPDX-License-Identifier: GPL-2.0-only

//! A mapped device: what the server calls it, and what becomes of it.

#![deny(unsafe_code)]

use crate::block_session::BlockSession;
use crate::capacity::Capacity;
use crate::open_devices::OpenDevices;
use core::fmt;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::SetOnce;
use rnbd_proto::wire::rnbd::AccessMode;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::kernel_ext::latency::Latency;

/// In use.
const MAPPED: u32 = 0;
/// Being unmapped; nobody can open it any more.
const RETIRED: u32 = 1;
/// Being unmapped by force: I/O fails.
const ABORTED: u32 = 2;

/// A mapped device, as seen by its disk and its files.
#[pin_data]
pub(crate) struct Device {
    /// The session it is mapped on.
    pub(crate) session: Arc<BlockSession>,
    /// Executes the I/O. Closed before the device is gone.
    pub(crate) transport: Arc<rtrs::client::Session>,
    /// Has the server open it again. Forgets it before it is gone.
    roster: Arc<OpenDevices>,
    /// Name of the device for the server.
    pub(crate) path: KVec<u8>,
    /// How it was opened.
    pub(crate) mode: AccessMode,
    /// What the server calls it, anew each time that it opens it: [`HAS_ID`] and the id.
    /// 0 when the server does not have it any more, or not as it was: I/O fails.
    there: Atomic<u64>,
    /// What its disk is made for.
    made_for: SetOnce<Kind>,
    /// Number of its disk.
    pub(crate) number: u32,
    #[pin]
    pub(crate) sizing: Capacity,
    state: Atomic<u32>,
    /// How long requests wait for a path, and then for their end.
    pub(crate) latency: Arc<Latency>,
}

const HAS_ID: u64 = 1 << 32;

/// What cannot change while there is a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    logical_block_size: u32,
    write_cache: bool,
}

/// What users see as the `state` of a device.
pub(crate) enum State {
    /// I/O works.
    Open,
    /// The session is disconnected, I/O waits or fails; or the server does not have
    /// the device any more, I/O fails.
    Closed,
    /// On its way out.
    Unmapped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unmapped => "unmapped",
        })
    }
}

impl Device {
    /// A device that is ready for I/O once the server has opened it.
    pub(crate) fn new(
        session: Arc<BlockSession>,
        transport: Arc<rtrs::client::Session>,
        roster: Arc<OpenDevices>,
        path: KVec<u8>,
        mode: AccessMode,
        number: u32,
    ) -> Result<Arc<Self>> {
        let latency = Latency::new(["wait", "remote"])?;
        let device = pin_init!(Self {
            sizing <- Capacity::new(number),
            session,
            transport,
            roster,
            path,
            mode,
            there: Atomic::new(0),
            made_for: SetOnce::new(),
            number,
            state: Atomic::new(MAPPED),
            latency,
        });
        Arc::pin_init(device, GFP_KERNEL)
    }

    /// What to tell a user.
    pub(crate) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            MAPPED if self.transport.is_connected() && self.id().is_some() => State::Open,
            MAPPED => State::Closed,
            _ => State::Unmapped,
        }
    }

    /// What the server calls it, if it has it open, or had when the session was lost.
    #[inline]
    pub(crate) fn id(&self) -> Option<DeviceId> {
        let there = self.there.load(Relaxed);
        // CAST: The id is in the lower half.
        (there != 0).then_some(DeviceId(there as u32))
    }

    /// The server has opened it.
    ///
    /// # Errors
    ///
    /// `EMEDIUMTYPE` when it is not what the disk was made for at first: the disk would
    /// send what the device cannot do, or not what it needs.
    pub(crate) fn opened(&self, answer: &OpenRsp) -> Result {
        let kind = Kind {
            logical_block_size: answer.geometry.logical_block_size(),
            write_cache: answer.write_cache,
        };
        self.made_for.populate(kind);
        let fits = self.made_for.as_ref().is_some_and(|made_for| {
            kind.logical_block_size <= made_for.logical_block_size
                && (made_for.write_cache || !kind.write_cache)
        });
        if !fits {
            return Err(EMEDIUMTYPE);
        }
        self.there
            .store(HAS_ID | u64::from(answer.device.0), Relaxed);
        Ok(())
    }

    /// Somebody says that the device has `sectors` now.
    ///
    /// # Errors
    ///
    /// `ENOENT` when it is not open, `EFBIG` for a size that no disk can have.
    pub(crate) fn resize_by_hand(&self, sectors: u64) -> Result {
        match self.state() {
            State::Open => self.sizing.set(sectors),
            State::Closed | State::Unmapped => Err(ENOENT),
        }
    }

    /// Has the server open it again, which did not when the session was back, or has
    /// closed it by itself.
    ///
    /// # Errors
    ///
    /// `EALREADY` when it is open, `ENODEV` when it is being unmapped, `ENOTCONN` when
    /// the session has no path, else why the server does not open it.
    pub(crate) fn remap(self: &Arc<Self>) -> Result {
        match (self.state.load(Relaxed), self.transport.is_connected()) {
            (MAPPED, false) => Err(ENOTCONN),
            (MAPPED, true) if self.id().is_some() => Err(EALREADY),
            (MAPPED, true) => self.roster.reopen(&self.transport, self),
            _ => Err(ENODEV),
        }
    }

    /// Whether the server has it open, or will once the session is back.
    pub(crate) fn is_mapped(&self) -> bool {
        self.state.load(Relaxed) == MAPPED && self.id().is_some()
    }

    /// The server does not have it any more. Answers what it called it.
    pub(crate) fn lose(&self) -> Option<DeviceId> {
        let id = self.id();
        self.there.store(0, Relaxed);
        id
    }

    /// Keeps it from being opened. To be called by `Disk::with_openers`.
    pub(crate) fn retire(&self) {
        // One that is aborted stays so.
        let _ = self.state.cmpxchg(MAPPED, RETIRED, Relaxed);
    }

    /// Fails requests from now on.
    pub(crate) fn abort(&self) {
        self.state.store(ABORTED, Relaxed);
    }

    /// Whether requests fail.
    #[inline]
    pub(crate) fn is_aborted(&self) -> bool {
        self.state.load(Relaxed) == ABORTED
    }
}
