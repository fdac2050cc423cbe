// SPDX-License-Identifier: GPL-2.0-only

//! The capacity of a mapped device: the one that the server reports, the one that a user sets,
//! and the one that the disk has.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rtrs::{
    kernel_ext::noio_mutex::NoIoMutex,
    new_noio_mutex, //
};

use crate::mq::DiskCapacity;

/// The capacity of a device, in sectors of 512 bytes.
#[pin_data]
pub(crate) struct Capacity {
    /// Number of the disk.
    number: u32,
    /// Held while the capacity of the disk changes. No other lock is taken under it.
    #[pin]
    inner: NoIoMutex<Inner>,
}

struct Inner {
    /// `Some` while the disk can be resized.
    disk: Option<DiskCapacity>,
    /// The capacity that the server reported last.
    server_sectors: u64,
}

impl Capacity {
    /// Creates the capacity of a device that has no disk yet.
    pub(crate) fn new(number: u32) -> Result<Arc<Self>> {
        let inner = Inner {
            disk: None,
            server_sectors: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                number,
                inner <- new_noio_mutex!(inner, "rnbd_capacity"),
            }),
            GFP_KERNEL,
        )
    }

    /// Records the `sectors` with which the server opened the device for the first time; the
    /// disk is created with this capacity.
    pub(crate) fn opened(&self, sectors: u64) {
        self.inner.lock().server_sectors = sectors;
    }

    /// Gives the disk the `sectors` with which the server reopened the device, also if a user
    /// has set another capacity.
    ///
    /// # Errors
    ///
    /// `EFBIG` for a capacity that no disk can have. `ENXIO` for a device without sectors whose
    /// disk has some: it is gone, and an empty disk would end without an error.
    pub(crate) fn reopened(&self, sectors: u64) -> Result {
        let mut inner = self.inner.lock();
        inner.check_present(sectors)?;
        inner.server_sectors = sectors;
        inner.apply(self.number, sectors)
    }

    /// Gives the disk the `sectors` that the server reports for an open device, if that has
    /// changed. Until it changes, a capacity that a user has set stays.
    ///
    /// # Errors
    ///
    /// As [`Self::reopened`]: with 0 sectors the device is gone, as a disk that was pulled.
    pub(crate) fn reported(&self, sectors: u64) -> Result {
        let mut inner = self.inner.lock();
        if inner.server_sectors == sectors {
            return Ok(());
        }
        inner.check_present(sectors)?;
        inner.server_sectors = sectors;
        inner.apply(self.number, sectors)
    }

    /// Gives the disk the `sectors` that a user asks for.
    ///
    /// # Errors
    ///
    /// `EFBIG` for a capacity that no disk can have.
    pub(crate) fn set_by_user(&self, sectors: u64) -> Result {
        self.inner.lock().apply(self.number, sectors)
    }
}

impl Inner {
    /// Checks that a device with `sectors` may be that of the disk.
    fn check_present(&self, sectors: u64) -> Result {
        match &self.disk {
            Some(disk) if sectors == 0 && disk.sectors() != 0 => Err(ENXIO),
            _ => Ok(()),
        }
    }

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

/// Lets the disk of a device be resized. Drop waits for a resize that is under way, and must
/// come before the disk is removed.
pub(crate) struct Resizable(Arc<Capacity>);

impl Resizable {
    /// Ties `capacity` to `disk`, which was created with the capacity at first open.
    ///
    /// # Errors
    ///
    /// `EFBIG`, if the server has reported another capacity since, which no disk can have.
    pub(crate) fn new(capacity: Arc<Capacity>, disk: DiskCapacity) -> Result<Self> {
        let this = Self(capacity);
        let mut inner = this.0.inner.lock();
        inner.disk = Some(disk);
        inner.apply(this.0.number, inner.server_sectors)?;
        drop(inner);
        Ok(this)
    }
}

impl Drop for Resizable {
    fn drop(&mut self) {
        let disk = self.0.inner.lock().disk.take();
        drop(disk);
    }
}
