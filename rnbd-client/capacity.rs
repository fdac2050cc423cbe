// SPDX-License-Identifier: GPL-2.0-only

//! The size of a mapped device: what the server says, what somebody sets by hand, and
//! what the disk has.

#![deny(unsafe_code)]

use crate::device::Device;
use crate::mq::DiskCapacity;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

/// The size of a device. Sectors are of 512 bytes.
#[pin_data]
pub(crate) struct Capacity {
    /// Number of the disk.
    number: u32,
    /// Held while the size of the disk changes. Nothing is taken inside.
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// There while the disk can be resized.
    disk: Option<DiskCapacity>,
    /// Sectors that the device has, as the server said last.
    said: u64,
}

impl Capacity {
    /// Of a device without a disk.
    pub(crate) fn new(number: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            number,
            inner <- new_mutex!(Inner { disk: None, said: 0 }, "rnbd_sizing"),
        })
    }

    /// The server opened the device for the first time, with `sectors`, for which the
    /// disk is going to be made.
    pub(crate) fn first(&self, sectors: u64) {
        self.inner.lock().said = sectors;
    }

    /// The server opened the device again: the disk has `sectors` now, whatever it had.
    ///
    /// # Errors
    ///
    /// `EFBIG` for a size that no disk can have.
    pub(crate) fn again(&self, sectors: u64) -> Result {
        let mut inner = self.inner.lock();
        inner.said = sectors;
        inner.apply(self.number, sectors)
    }

    /// The server says that the device, open all the time, has `sectors` now. A size
    /// that was set by hand stays until that is something new.
    ///
    /// A device that has none any more is gone, as a disk that was pulled. The disk
    /// keeps its size, so that I/O gets to the server and fails: an empty disk could be
    /// read without an error, and that would find its end.
    ///
    /// # Errors
    ///
    /// As [`Self::again`].
    pub(crate) fn follow(&self, sectors: u64) -> Result {
        let mut inner = self.inner.lock();
        if inner.said == sectors {
            return Ok(());
        }
        inner.said = sectors;
        if sectors == 0 {
            pr_warn!(
                "rnbd{}: the server's device is gone, I/O fails\n",
                self.number
            );
            return Ok(());
        }
        inner.apply(self.number, sectors)
    }

    /// Somebody says that the disk is to have `sectors`.
    ///
    /// # Errors
    ///
    /// As [`Self::again`].
    pub(crate) fn set(&self, sectors: u64) -> Result {
        self.inner.lock().apply(self.number, sectors)
    }
}

impl Inner {
    fn apply(&self, number: u32, sectors: u64) -> Result {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let before = disk.sectors();
        if before != sectors {
            disk.set(sectors)?;
            pr_info!("rnbd{number}: size changed from {before} to {sectors} sectors\n");
        }
        Ok(())
    }
}

/// The disk of a device can be resized until this is dropped, which waits for whoever
/// is doing it. To go before the disk is removed.
pub(crate) struct Resizable(Arc<Device>);

impl Resizable {
    /// `device` has a disk of this size, made for what the server said at first.
    ///
    /// # Errors
    ///
    /// As [`Capacity::again`], if the server has said something else since.
    pub(crate) fn new(device: Arc<Device>, size: DiskCapacity) -> Result<Self> {
        let this = Self(device);
        let sizing = &this.0.sizing;
        let mut inner = sizing.inner.lock();
        inner.disk = Some(size);
        inner.apply(sizing.number, inner.said)?;
        drop(inner);
        Ok(this)
    }
}

impl Drop for Resizable {
    fn drop(&mut self) {
        let size = self.0.sizing.inner.lock().disk.take();
        drop(size);
    }
}
