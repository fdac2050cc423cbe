// SPDX-License-Identifier: GPL-2.0-only

//! `/sys/class/rnbd-client/ctl`: mapping devices, and load and unload of the module.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use rnbd_proto::text::map_device::{
    MapOptions,
    USAGE, //
};

use rtrs::kernel_ext::{
    class::{
        Class,
        ClassDevice, //
    },
    cpu,
    log::Plain,
    sysfs::{
        Attrs,
        StoreCtx,
        SysfsDir, //
    },
    workqueue::{
        OwnedWorkqueue,
        WorkqueueKind, //
    }, //
};

use crate::{
    block_session::{
        BlockSession,
        Sessions, //
    },
    module_resources::ModuleResources, //
};

rtrs::sysfs_files! {
    static CONTROL_FILES: Files<ControlFiles> = [
        c"map_device" => show(|_, buf| buf.push(USAGE.as_bytes()))
            store(ControlFiles::map_device);
    ];
}

/// The object that `map_device` is bound to.
struct ControlFiles {
    sessions: Arc<Sessions>,
    resources: Arc<ModuleResources>,
}

/// The state of the loaded module. Fields are dropped in this order.
pub(crate) struct Control {
    /// `None` during drop: removed first, so that no more devices are mapped.
    files: Option<Attrs>,
    sessions: Arc<Sessions>,
    _resources: Arc<ModuleResources>,
    /// Last, as a worker may hold the last reference to the other fields.
    queue: OwnedWorkqueue,
}

impl Control {
    /// Sets the module up. Users can map devices from here on.
    pub(crate) fn new() -> Result<Self> {
        let class = Class::new(c"rnbd-client")?;
        let device = ClassDevice::new(&class, c"ctl")?;
        let queue = OwnedWorkqueue::new(c"rnbd_client", WorkqueueKind::Unbound)?;
        let resources = ModuleResources::new(SysfsDir::bare(&device, c"devices")?, queue.handle())?;
        let sessions = Sessions::new()?;
        let files = ControlFiles {
            sessions: sessions.clone(),
            resources: resources.clone(),
        };
        let files = Attrs::attach(&device, Arc::new(files, GFP_KERNEL)?, &CONTROL_FILES)?;
        Ok(Self {
            files: Some(files),
            sessions,
            _resources: resources,
            queue,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.files = None;
        // A session leaves the registry with its last device, which a worker may be closing.
        // Without a connection that does not take long.
        while let Some(session) = self.sessions.first() {
            session.unmap_all();
            self.queue.flush();
        }
    }
}

impl ControlFiles {
    fn map_device(this: ArcBorrow<'_, Self>, line: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        let options = MapOptions::parse(line, cpu::ids()).map_err(|err| {
            pr_err!("map_device: {}\n", Plain(&err));
            Error::from_errno(-err.errno())
        })?;
        let name = options.sessname;
        let user = Sessions::find_or_add(&this.sessions, name.as_bytes(), || {
            BlockSession::new(name, this.resources.clone())
        })?;
        BlockSession::map(&user, &options)
    }
}
