// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, server side: lets clients use the block devices of
//! this machine.
//!
//! What belongs to whom, and what waits for what when it ends, is in
//! `Documentation/architecture-server.md`.

use kernel::prelude::*;
use kernel::sync::Arc;
use rtrs::kernel_ext::class::Class;
use rtrs::kernel_ext::class::ClassDevice;
use rtrs::kernel_ext::sysfs::Attrs;
use rtrs::kernel_ext::workqueue::OwnedWorkqueue;
use rtrs::kernel_ext::workqueue::WorkqueueKind;
use rtrs::server::Server;

use crate::block_session::Target;
use crate::disks::Disks;
use crate::export_rules::ExportRules;

mod bdev;
mod block_session;
mod deferred_close;
mod device_path;
mod devices;
mod disks;
mod export;
mod export_acl;
mod export_rules;
mod files;
mod id_table;
mod io;
mod open_close;
mod params;
mod response;
mod rule_target;
mod slot;

module! {
    type: RnbdServer,
    name: "rnbd_server",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device server",
    license: "GPL",
}

/// The module itself.
struct RnbdServer {
    // Dropped in this order: the server closes all sessions, and they their devices;
    // then the queue waits for tasks of sessions to return; then what is left of our
    // directories in sysfs goes, and the class with them.
    _server: Server,
    _queue: OwnedWorkqueue,
    _rules_file: Attrs,
    _disks: Arc<Disks>,
}

impl kernel::Module for RnbdServer {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let port = params::port()?;
        let search = params::search_path()?;
        let rules = ExportRules::new(params::export_default()?)?;
        // Everything is in its place before the first client can connect.
        let class = Class::new(c"rnbd-server")?;
        let ctl = ClassDevice::new(&class, c"ctl")?;
        let disks = Disks::new(&ctl)?;
        let file = rules.show_in(&ctl)?;
        let queue = OwnedWorkqueue::new(c"rnbd_server", WorkqueueKind::Unbound)?;
        let target = Target {
            search,
            rules,
            disks: disks.clone(),
            queue: queue.handle(),
        };
        let server = Server::start(port, Arc::new(target, GFP_KERNEL)?)?;

        pr_info!("listening on port {}\n", port);
        Ok(Self {
            _server: server,
            _queue: queue,
            _rules_file: file,
            _disks: disks,
        })
    }
}
