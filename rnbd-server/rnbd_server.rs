// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, server side: gives clients access to the block devices of
//! this machine.
//!
//! `Documentation/architecture-server.md` describes the objects, their owners and the
//! order of teardown.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rtrs::{
    kernel_ext::{
        class::{
            Class,
            ClassDevice, //
        },
        sysfs::Attrs,
        workqueue::{
            OwnedWorkqueue,
            WorkqueueKind, //
        }, //
    },
    server::Server, //
};

use crate::{
    block_session::Target,
    disk_registry::DiskRegistry,
    export_rules::ExportRules, //
};

mod admission;
mod bdev;
mod block_request;
mod block_session;
mod device_path;
mod devices;
mod disk_registry;
mod event_counter;
mod export_acl;
mod export_rules;
mod id_table;
mod open_close;
mod open_device;
mod params;
mod response;
mod rule_target;
mod submit_queue;
mod sysfs;

module! {
    type: RnbdServer,
    name: "rnbd_server",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device server",
    license: "GPL",
}

rtrs::module_version!("rnbd_server");

/// The module itself.
struct RnbdServer {
    // Dropped in this order: the server ends all sessions, which close their devices; the
    // workqueues wait for work items to return; then the remaining sysfs directories are
    // removed, and the class with them.
    _server: Server,
    _queue: OwnedWorkqueue,
    _flushes: OwnedWorkqueue,
    _rules_file: Attrs,
    _disks: Arc<DiskRegistry>,
}

impl kernel::Module for RnbdServer {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let port = params::port()?;
        let search = params::search_path()?;
        let rules = ExportRules::new(params::export_default()?)?;
        // All of this exists before the first client can connect.
        let class = Class::new(c"rnbd-server")?;
        let ctl = ClassDevice::new(&class, c"ctl")?;
        let disks = DiskRegistry::new(&ctl)?;
        let file = rules.create_file(&ctl)?;
        let queue = OwnedWorkqueue::new(c"rnbd_server", WorkqueueKind::Unbound)?;
        let flushes = OwnedWorkqueue::new(c"rnbd_server_flush", WorkqueueKind::Unbound)?;
        let target = Target {
            search,
            rules,
            disks: disks.clone(),
            queue: queue.handle(),
            flushes: flushes.handle(),
        };
        let server = Server::start(port, Arc::new(target, GFP_KERNEL)?)?;

        pr_info!("listening on port {}\n", port);
        Ok(Self {
            _server: server,
            _queue: queue,
            _flushes: flushes,
            _rules_file: file,
            _disks: disks,
        })
    }
}
