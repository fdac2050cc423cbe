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
    }, //
};

use crate::bdev::{
    BlockDevice,
    DevId, //
};

/// A block device that at least one session has open. The last one to close it removes
/// it.
struct SharedDisk {
    id: DevId,
    openers: Openers,
    /// The directory that holds one directory per session.
    sessions: SysfsDir,
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
    /// which must be removed before the [`Opener`] is dropped.
    ///
    /// # Errors
    ///
    /// - `EPERM` if another opener's mode excludes `mode`;
    /// - errors of sysfs.
    pub(crate) fn add_opener(
        self: &Arc<Self>,
        device: &BlockDevice,
        mode: AccessMode,
    ) -> Result<(Opener, SysfsParent)> {
        let id = device.id();
        let mut open = self.open.lock();

        let parent = match open.iter_mut().find(|disk| disk.id == id) {
            Some(disk) => {
                disk.openers.open(mode).map_err(denied)?;
                disk.sessions.parent()
            }
            None => {
                let disk = SharedDisk::new(&self.dir, device, mode)?;
                let parent = disk.sessions.parent();

                open.push(disk, GFP_KERNEL)?;
                parent
            }
        };
        let opener = Opener {
            disks: self.clone(),
            id,
            mode,
        };

        Ok((opener, parent))
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

impl Drop for Opener {
    fn drop(&mut self) {
        let mut open = self.disks.open.lock();

        if let Some(index) = open.iter().position(|disk| disk.id == self.id) {
            if let Some(disk) = open.get_mut(index) {
                disk.openers.close(self.mode);
                if !disk.openers.is_empty() {
                    return;
                }
            }
            // Removes the directories under the lock, before another opener creates them.
            drop(open.remove(index));
        }
    }
}
