// SPDX-License-Identifier: GPL-2.0-only

//! Resources of the module that all devices share.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rtrs::{
    client::Client,
    kernel_ext::{
        debugfs::DebugfsDir,
        sysfs::SysfsDir,
        workqueue::WorkqueueHandle, //
    }, //
};

use crate::{
    disk_number::DiskNumbers,
    mq::AddedDisks,
    params::{
        self,
        Defaults, //
    }, //
};

/// Resources that all devices share. Each session holds a reference.
pub(crate) struct ModuleResources {
    /// Numbers of disks.
    pub(crate) numbers: Arc<DiskNumbers>,
    /// `ctl/devices`, with a link to each disk.
    pub(crate) links: SysfsDir,
    /// The directory in debugfs.
    pub(crate) debugfs: DebugfsDir,
    /// The client side of the transport.
    pub(crate) client: Client,
    /// Waits for all disks.
    _disks: AddedDisks,
    /// Defaults of the options of `map_device`.
    pub(crate) defaults: Defaults,
    /// Runs the rest of unmapping by force. [`crate::control::Control`] owns the queue.
    pub(crate) queue: WorkqueueHandle,
}

impl ModuleResources {
    /// Registers the names of the module. The links are created in `links`.
    pub(crate) fn new(links: SysfsDir, queue: WorkqueueHandle) -> Result<Arc<Self>> {
        let this = Self {
            defaults: params::defaults()?,
            numbers: DiskNumbers::new()?,
            links,
            debugfs: DebugfsDir::new(c"rnbd_client")?,
            client: Client::new()?,
            _disks: AddedDisks::new(),
            queue,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }
}
