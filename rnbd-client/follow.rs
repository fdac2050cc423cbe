// SPDX-License-Identifier: GPL-2.0-only

//! Follows the device of the server: its disk gets the write cache, the limits and the
//! read-only state that the server describes.
//!
//! ```text
//! description          work item                      next DESCRIBE
//! received()     --->  freezes the queue,       --->  names the generation: the server
//! FUA for writes       sets limits, unfreezes it      need not make writes durable itself
//! ```
//!
//! A queue can be changed once no request is in flight, and requests in flight may wait for
//! the path that the description comes over. So a work item changes it. Until it has, writes
//! to a device that has a write cache get FUA from the driver, as the block layer of the disk
//! does not flush.
//!
//! MD and device-mapper look at the write cache of a disk when they claim it, and pass on no
//! flush if there was none. So if the disk is claimed when it gets a write cache, writes get FUA
//! until it is not, and the generation is named then only.
//!
//! Limits that are not live, such as the size of blocks, change only while no task has the disk open,
//! as a program that has it open relies on them; then no request is in flight either, and the task
//! that has the description changes them.
//!
//! Lock: `inner`, taken after the lock of [`crate::open_devices::OpenDevices`], or that under which
//! disks are opened. Nothing is taken inside, and it is not held while the queue is frozen.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::wire::rnbd::{
    Description,
    DeviceFlags,
    Generation, //
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

use crate::mq::{
    DiskHandle,
    Limits,
    LiveLimits, //
};

const WORK: u64 = 0;

/// What the disk of a device has, and what the server says that it should have.
#[pin_data]
pub(crate) struct Follower {
    /// Number of the disk.
    number: u32,
    /// Whether writes need FUA, as not all flushes arrive.
    forces_fua: AtomicBool,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    work: OwnedWork<Self, WORK>,
}

struct Inner {
    /// Whether the server has the device open for writing.
    writes: bool,
    /// `Some` while the disk can be changed.
    disk: Option<DiskHandle>,
    /// What the disk has; `None` before the first open.
    has: Option<Properties>,
    /// The limits of the disk, of which those in `live` may have changed since.
    limits: Option<Limits>,
    /// What the server described last.
    wanted: Option<Properties>,
    /// Generation of that description.
    generation: Generation,
    /// Whether an error was logged for it.
    failed: bool,
    /// Whether the server must be told that the disk flushes.
    unconfirmed: bool,
    /// Whether the disk was claimed when it got a write cache, and has been since.
    claimed_before: bool,
}

impl Inner {
    /// Whether flushes are lost on their way to a device with a write cache: the disk has none yet,
    /// or had none when it was claimed.
    fn loses_flushes(&self) -> bool {
        let cached = |it: Option<Properties>| it.is_some_and(|it| it.limits.write_cache);
        cached(self.wanted) && (!cached(self.has) || self.claimed_before)
    }
}

/// What can be followed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Properties {
    limits: LiveLimits,
    read_only: bool,
}

impl_has_owned_work! {
    impl HasOwnedWork<WORK> for Follower { self.work }
}

impl Properties {
    fn new(description: &Description, writes: bool) -> Self {
        Self {
            limits: LiveLimits::from(description),
            read_only: !writes || description.flags.has(DeviceFlags::READ_ONLY),
        }
    }
}

impl Follower {
    /// Creates the state of device `number`, which is going to be opened. Its disk is changed on
    /// `queue`.
    pub(crate) fn new(number: u32, queue: WorkqueueHandle) -> Result<Arc<Self>> {
        let inner = Inner {
            writes: false,
            disk: None,
            has: None,
            limits: None,
            wanted: None,
            generation: Generation::NONE,
            failed: false,
            unconfirmed: false,
            claimed_before: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                number,
                forces_fua: AtomicBool::new(false),
                inner <- new_mutex!(inner, "rnbd_follower"),
                work <- new_owned_work!(queue, "rnbd_client_follow"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether writes must be sent with FUA.
    #[inline]
    pub(crate) fn forces_fua(&self) -> bool {
        self.forces_fua.load(Relaxed)
    }

    /// Takes over that the server has opened the device, for writing or not, and how it describes
    /// the device. At the first open the disk is created accordingly.
    pub(crate) fn opened(self: &Arc<Self>, description: &Description, writes: bool) {
        self.inner.lock().writes = writes;
        self.received(description);
    }

    /// Takes over how the server describes the device, which is open.
    ///
    /// A server without descriptions does not tell when it gets a write cache. So a disk that
    /// flushes keeps doing so.
    pub(crate) fn received(self: &Arc<Self>, description: &Description) {
        let mut inner = self.inner.lock();
        let mut wanted = Properties::new(description, inner.writes);
        let has = *inner.has.get_or_insert(wanted);

        if description.generation == Generation::NONE {
            wanted.limits.write_cache |= has.limits.write_cache;
        }
        inner.wanted = Some(wanted);
        inner.generation = description.generation;
        inner.failed = false;
        inner.unconfirmed |= wanted.limits.write_cache && !has.limits.write_cache;
        self.forces_fua.store(inner.loses_flushes(), Relaxed);
        let differs = wanted != has;
        drop(inner);
        if differs {
            work::schedule::<_, WORK>(self);
        }
    }

    /// Returns the generation of the description that the disk has, if it is the last one that
    /// the server sent, and no flush is lost.
    pub(crate) fn applied(&self) -> Generation {
        let inner = self.inner.lock();
        match inner.has == inner.wanted && !inner.loses_flushes() {
            true => inner.generation,
            false => Generation::NONE,
        }
    }

    /// Records that the server was told which description the disk has `applied`.
    pub(crate) fn confirmed(&self, applied: Generation) {
        if applied != Generation::NONE {
            self.inner.lock().unconfirmed = false;
        }
    }

    /// Whether the server must be told that the disk flushes, once it does.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.inner.lock().unconfirmed
    }

    /// The disk is being opened by somebody who has not claimed it yet.
    pub(crate) fn opening(&self) {
        let mut inner = self.inner.lock();
        let claimed = inner.disk.as_ref().is_some_and(DiskHandle::is_claimed);
        if inner.claimed_before && !claimed {
            inner.claimed_before = false;
            self.forces_fua.store(inner.loses_flushes(), Relaxed);
        }
    }

    /// Whether a task has the disk open.
    pub(crate) fn is_open(&self) -> bool {
        let inner = self.inner.lock();
        inner.disk.as_ref().is_some_and(DiskHandle::is_open)
    }

    /// Takes over `limits` that are not live. The first time the disk is created with them. Later it
    /// gets them if no task has it open. Not for two descriptions at a time.
    ///
    /// # Errors
    ///
    /// If the disk keeps blocks that are smaller, as it would send requests that the device cannot
    /// execute: `EMEDIUMTYPE` because it is open, `EINVAL` because the block layer does not accept
    /// the limits.
    pub(crate) fn follow_limits(&self, limits: &Limits) -> Result {
        let mut inner = self.inner.lock();
        let has = *inner.limits.get_or_insert(*limits);
        let disk = inner.disk.clone();
        drop(inner);
        if !limits.differ_from(&has) {
            return Ok(());
        }
        match self.set_unopened_limits(disk, limits) {
            Ok(true) => {
                self.inner.lock().limits = Some(*limits);
                Ok(())
            }
            _ if limits.logical_block_size <= has.logical_block_size => Ok(()),
            Ok(false) => Err(EMEDIUMTYPE),
            Err(err) => Err(err),
        }
    }

    fn set_unopened_limits(&self, disk: Option<DiskHandle>, limits: &Limits) -> Result<bool> {
        let Some(disk) = disk else {
            return Ok(false);
        };
        let Limits {
            logical_block_size,
            physical_block_size,
            io_opt,
            ..
        } = limits;
        let result = disk.set_unopened_limits(limits);
        match result {
            Ok(true) => {
                disk.announce_change(&[c"RNBD_LIMITS=1"]);
                pr_info!(
                    "rnbd{}: changed as the server's device: blocks of {logical_block_size}, physical ones of {physical_block_size}, best size {io_opt}\n",
                    self.number
                );
            }
            Ok(false) => {}
            Err(err) => pr_err!(
                "rnbd{}: cannot have blocks of {logical_block_size}, physical ones of {physical_block_size}, best size {io_opt} as the server's device: {err:?}\n",
                self.number
            ),
        }
        result
    }

    /// Whether the disk cannot be written, or is about to be so.
    pub(crate) fn is_read_only(&self) -> bool {
        let inner = self.inner.lock();
        inner.wanted.is_some_and(|wanted| wanted.read_only)
    }

    /// Sends a uevent that the disk works, or does not.
    pub(crate) fn announce_state(&self, online: bool) {
        let disk = self.inner.lock().disk.clone();
        if let Some(disk) = disk {
            disk.announce_state(online);
        }
    }

    /// Changes the disk from `has` to `wanted`.
    fn apply(&self, disk: &DiskHandle, has: &Properties, wanted: &Properties) -> Result {
        if has.limits != wanted.limits {
            disk.set_limits(&wanted.limits)?;
        }
        if has.read_only != wanted.read_only {
            disk.set_read_only(wanted.read_only);
        }
        let cache = has.limits.write_cache != wanted.limits.write_cache
            || has.limits.fua != wanted.limits.fua;
        if has.limits != wanted.limits {
            disk.announce_change(match (cache, wanted.limits.write_cache) {
                (true, true) => &[c"RNBD_WRITE_CACHE=1"],
                (true, false) => &[c"RNBD_WRITE_CACHE=0"],
                (false, _) => &[c"RNBD_LIMITS=1"],
            });
        }
        let word = |on| if on { "on" } else { "off" };
        pr_info!(
            "rnbd{}: changed as the server's device: write cache {}, FUA {}, {}\n",
            self.number,
            word(wanted.limits.write_cache),
            word(wanted.limits.write_cache && wanted.limits.fua),
            match wanted.read_only {
                true => "read-only",
                false => "writable",
            }
        );
        Ok(())
    }
}

impl OwnedWorkItem<WORK> for Follower {
    fn run(this: Arc<Self>) {
        let inner = this.inner.lock();
        let (Some(disk), Some(has), Some(wanted)) = (inner.disk.clone(), inner.has, inner.wanted)
        else {
            return;
        };
        drop(inner);
        if has == wanted {
            return;
        }
        let result = this.apply(&disk, &has, &wanted);
        let mut inner = this.inner.lock();
        match result {
            Ok(()) => {
                inner.has = Some(wanted);
                // Who claims it from now on finds the write cache.
                if wanted.limits.write_cache && !has.limits.write_cache && disk.is_claimed() {
                    inner.claimed_before = true;
                    pr_info!(
                        "rnbd{}: each write is made durable (FUA) until nothing uses the disk, as MD and device-mapper, if they do, do not flush it\n",
                        this.number
                    );
                }
                this.forces_fua.store(inner.loses_flushes(), Relaxed);
            }
            Err(err) if !inner.failed => {
                inner.failed = true;
                pr_err!(
                    "rnbd{}: cannot change as the server's device: {err:?}\n",
                    this.number
                );
            }
            Err(_) => (),
        }
    }
}

/// Lets the disk of a device be changed. Drop waits for a change of the work item that is under way,
/// and must come before the disk is removed. Limits that are not live may still change after that,
/// which a disk that is removed bears.
pub(crate) struct Followed(Arc<Follower>);

impl Followed {
    /// Ties `follower` to `disk`, which was created as described at first open.
    pub(crate) fn new(follower: Arc<Follower>, disk: DiskHandle) -> Self {
        follower.inner.lock().disk = Some(disk);
        // The server may have described another state since.
        work::schedule::<_, WORK>(&follower);
        Self(follower)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        work::stop_sync::<_, WORK>(&self.0);
        let disk = self.0.inner.lock().disk.take();
        drop(disk);
    }
}
