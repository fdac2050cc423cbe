// SPDX-License-Identifier: GPL-2.0-only

//! `/sys/class/rnbd-client/ctl`: where devices are mapped.

#![deny(unsafe_code)]

use crate::session_registry::SessionRegistry;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::text::map_device::USAGE;
use rtrs::kernel_ext::class::Class;
use rtrs::kernel_ext::class::ClassDevice;
use rtrs::kernel_ext::cpu;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::sysfs::Attrs;
use rtrs::kernel_ext::sysfs::StoreCtx;
use rtrs::kernel_ext::sysfs::SysfsDir;
use rtrs::kernel_ext::workqueue::OwnedWorkqueue;
use rtrs::kernel_ext::workqueue::WorkqueueKind;

rtrs::sysfs_files! {
    static CONTROL_FILES: Files<SessionRegistry> = [
        c"map_device" => show(|_, buf| buf.push(USAGE.as_bytes())) store(map_device);
    ];
}

/// What the module is made of.
pub(crate) struct Control {
    /// First to go, so that nothing is mapped any more: `None` while dropping.
    files: Option<Attrs>,
    registry: Arc<SessionRegistry>,
    /// Last, as what is on it may have the last reference to all else.
    queue: OwnedWorkqueue,
}

impl Control {
    /// Sets the module up; users can map devices from here on.
    pub(crate) fn new() -> Result<Self> {
        let class = Class::new(c"rnbd-client")?;
        let device = ClassDevice::new(&class, c"ctl")?;
        let queue = OwnedWorkqueue::new(c"rnbd_client", WorkqueueKind::Unbound)?;
        let registry = SessionRegistry::new(SysfsDir::bare(&device, c"devices")?, queue.handle())?;
        let files = Attrs::attach(&device, registry.clone(), &CONTROL_FILES)?;
        Ok(Self {
            files: Some(files),
            registry,
            queue,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.files = None;
        self.registry.shut_down(&self.queue);
    }
}

fn map_device(
    registry: ArcBorrow<'_, SessionRegistry>,
    line: &[u8],
    _ctx: &StoreCtx<'_>,
) -> Result {
    let options = MapOptions::parse(line, cpu::ids()).map_err(|err| {
        pr_err!("map_device: {}\n", Plain(&err));
        Error::from_errno(-err.errno())
    })?;
    let user = SessionRegistry::session(registry.into(), options.sessname)?;
    user.session().map(&user, &options)
}
