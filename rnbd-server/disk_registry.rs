// SPDX-License-Identifier: GPL-2.0-only

//! The block devices that any session has open: their openers and access modes, and their
//! directories in sysfs.

#![deny(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    openers::{
        AccessDenied,
        Openers, //
    },
    wire::rnbd::AccessMode, //
};

use rtrs::kernel_ext::{
    debugfs::{
        self,
        LatencyFile, //
    },
    kobject::{
        AsSysfsParent,
        SysfsParent, //
    },
    latency::Latency,
    log::Plain,
    sysfs::{
        Link,
        SysfsDir, //
    },
    workqueue::{
        OwnedWorkqueue,
        WorkqueueHandle,
        WorkqueueKind, //
    }, //
};

use crate::bdev::{
    BlockDevice,
    DevId, //
};

/// How many sessions submit requests that wait for a disk at a time.
///
/// Those of further sessions wait for the same disk. As long as it hangs, so many workers sleep.
const MAX_SUBMITTERS: u16 = 4;

/// A block device that at least one session has open. The last one to close it removes
/// it.
struct SharedDisk {
    id: DevId,
    openers: Openers,
    /// The directory that holds one directory per session.
    sessions: SysfsDir,
    /// Where requests are submitted that have to wait for the disk.
    submissions: OwnedWorkqueue,
    _block_dev: Link,
    _dir: SysfsDir,
}

/// All block devices that are open.
///
/// The lock is taken to open and close devices only, never by sysfs callbacks, as
/// directories are created and removed under it.
#[pin_data]
pub(crate) struct DiskRegistry {
    /// `/sys/class/rnbd-server/ctl/devices`.
    dir: SysfsDir,
    /// The debugfs directory of the latency histograms.
    debug: debugfs::DebugfsDir,
    #[pin]
    open: Mutex<KVec<SharedDisk>>,
}

impl DiskRegistry {
    /// Creates an empty registry, with its directory below `parent`.
    pub(crate) fn new(parent: &impl AsSysfsParent) -> Result<Arc<Self>> {
        let dir = SysfsDir::bare(parent, c"devices")?;

        Arc::pin_init(
            try_pin_init!(Self {
                dir,
                debug: debugfs::DebugfsDir::new(c"rnbd_server")?,
                open <- new_mutex!(KVec::new(), "rnbd_disk_registry"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Creates the latency histograms of a session's use of `device`, and their file in
    /// debugfs. The file must be removed before the session opens the device again.
    pub(crate) fn show_latency(
        &self,
        session: &CStr,
        device: &BlockDevice,
    ) -> Result<(Arc<Latency>, LatencyFile)> {
        let latency = Latency::new(["wait", "disk"])?;
        let session = Plain(session.to_bytes().escape_ascii());
        let name = CString::try_from_fmt(fmt!("{}@{session}", device.name()))?;
        let file = LatencyFile::new(&self.debug, &name, &latency);

        Ok((latency, file))
    }

    /// Adds an opener of `device`. Also returns the directory for the opener's files,
    /// which must be removed before the [`Opener`] is dropped, and the workqueue for its requests
    /// that have to wait for the disk, of which none may be left then.
    ///
    /// # Errors
    ///
    /// - `EPERM` if another opener's mode excludes `mode`;
    /// - errors of sysfs.
    pub(crate) fn add_opener(
        self: &Arc<Self>,
        device: &BlockDevice,
        mode: AccessMode,
    ) -> Result<(Opener, SysfsParent, WorkqueueHandle)> {
        let id = device.id();
        let mut open = self.open.lock();

        let (parent, submissions) = match open.iter_mut().find(|disk| disk.id == id) {
            Some(disk) => {
                disk.openers.open(mode).map_err(denied)?;
                (disk.sessions.parent(), disk.submissions.handle())
            }
            None => {
                let disk = SharedDisk::new(&self.dir, device, mode)?;
                let shared = (disk.sessions.parent(), disk.submissions.handle());

                open.push(disk, GFP_KERNEL)?;
                shared
            }
        };
        let opener = Opener {
            disks: self.clone(),
            id,
            mode,
        };

        Ok((opener, parent, submissions))
    }
}

impl SharedDisk {
    /// Creates the disk with its first opener.
    fn new(parent: &SysfsDir, device: &BlockDevice, mode: AccessMode) -> Result<Self> {
        let mut openers = Openers::new();
        let dir = SysfsDir::bare(parent, device.name())?;

        openers.open(mode).map_err(denied)?;
        Ok(Self {
            id: device.id(),
            openers,
            sessions: SysfsDir::bare(&dir, c"sessions")?,
            submissions: OwnedWorkqueue::new(
                c"rnbd_server_submit",
                WorkqueueKind::UnboundAtMost(MAX_SUBMITTERS),
            )?,
            _block_dev: Link::new(&dir, c"block_dev", device)?,
            _dir: dir,
        })
    }
}

fn denied(reason: AccessDenied) -> Error {
    Error::from_errno(-reason.errno())
}

/// One session's use of a [`SharedDisk`]. Drop makes room for another opener.
pub(crate) struct Opener {
    disks: Arc<DiskRegistry>,
    id: DevId,
    mode: AccessMode,
}

impl Opener {
    /// Returns what is left to drop of the disk, if this was the last opener.
    fn close(&self) -> Option<OwnedWorkqueue> {
        let mut open = self.disks.open.lock();
        let index = open.iter().position(|disk| disk.id == self.id)?;
        let disk = open.get_mut(index)?;

        disk.openers.close(self.mode);
        if !disk.openers.is_empty() {
            return None;
        }
        // Removes the directories under the lock, before another opener creates them.
        let SharedDisk { submissions, .. } = open.remove(index).ok()?;
        Some(submissions)
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // Waits for work items that are about to return, and so without the lock.
        drop(self.close());
    }
}
