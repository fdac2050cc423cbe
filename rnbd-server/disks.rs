// SPDX-License-Identifier: GPL-2.0-only

//! The block devices that are open for any session: who may open which, and their
//! directories in sysfs.

#![deny(unsafe_code)]

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::openers::AccessDenied;
use rnbd_proto::openers::Openers;
use rnbd_proto::wire::rnbd::AccessMode;
use rtrs::kernel_ext::debugfs;
use rtrs::kernel_ext::debugfs::LatencyFile;
use rtrs::kernel_ext::kobject::AsSysfsParent;
use rtrs::kernel_ext::kobject::SysfsParent;
use rtrs::kernel_ext::latency::Latency;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::sysfs::Link;
use rtrs::kernel_ext::sysfs::SysfsDir;

use crate::bdev::BlockDevice;
use crate::bdev::DevId;

/// A block device that at least one session has open. Without one it goes.
struct SharedDisk {
    id: DevId,
    openers: Openers,
    /// Sessions have their directories in here.
    sessions: SysfsDir,
    _block_dev: Link,
    _dir: SysfsDir,
}

/// All block devices that are open.
///
/// The lock is taken by those who open and close devices only, never by callbacks
/// of sysfs: directories come and go under it.
#[pin_data]
pub(crate) struct Disks {
    /// `/sys/class/rnbd-server/ctl/devices`.
    dir: SysfsDir,
    /// Where debugfs shows what sessions have open.
    debug: debugfs::DebugfsDir,
    #[pin]
    open: Mutex<KVec<SharedDisk>>,
}

impl Disks {
    /// No devices yet, with a directory for them below `parent`.
    pub(crate) fn new(parent: &impl AsSysfsParent) -> Result<Arc<Self>> {
        let dir = SysfsDir::bare(parent, c"devices")?;

        Arc::pin_init(
            try_pin_init!(Self {
                dir,
                debug: debugfs::DebugfsDir::new(c"rnbd_server")?,
                open <- new_mutex!(KVec::new(), "rnbd_disks"),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Histograms for a session's use of `device`, and their file in debugfs, which must
    /// go before the session may open it again.
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

    /// Admits one more opener of `device`. Also returned is the place for the files of
    /// the opener; what is made of it must go before the [`Share`].
    ///
    /// # Errors
    ///
    /// - `EPERM` if those who have it open exclude `mode`;
    /// - what sysfs says.
    pub(crate) fn share(
        self: &Arc<Self>,
        device: &BlockDevice,
        mode: AccessMode,
    ) -> Result<(Share, SysfsParent)> {
        let id = device.id();
        let mut open = self.open.lock();

        let place = match open.iter_mut().find(|disk| disk.id == id) {
            Some(disk) => {
                disk.openers.open(mode).map_err(denied)?;
                disk.sessions.parent()
            }
            None => {
                let disk = SharedDisk::new(&self.dir, device, mode)?;
                let place = disk.sessions.parent();

                open.push(disk, GFP_KERNEL)?;
                place
            }
        };
        let share = Share {
            disks: self.clone(),
            id,
            mode,
        };

        Ok((share, place))
    }
}

impl SharedDisk {
    /// The first opener's.
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

/// The right to have a device open.
pub(crate) struct Share {
    disks: Arc<Disks>,
    id: DevId,
    mode: AccessMode,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.disks.open.lock();

        if let Some(index) = open.iter().position(|disk| disk.id == self.id) {
            if let Some(disk) = open.get_mut(index) {
                disk.openers.close(self.mode);
                if !disk.openers.is_empty() {
                    return;
                }
            }
            // Its directories go before another can make them again.
            drop(open.remove(index));
        }
    }
}
