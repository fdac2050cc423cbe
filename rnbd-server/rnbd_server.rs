// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, server side: lets clients use the block devices of
//! this machine.
//!
//! What belongs to whom, and what waits for what when it ends, is in
//! `Documentation/architecture-server.md`.

use kernel::prelude::*;
use kernel::sync::Arc;
use rtrs::server::Server;
use rtrs::support::class::Class;
use rtrs::support::class::ClassDevice;
use rtrs::support::queue::Kind;
use rtrs::support::queue::OwnedQueue;
use rtrs::support::sysfs::Attrs;

use crate::disks::Disks;
use crate::rules::ExportRules;
use crate::session::Target;

mod admin;
mod answer;
mod bdev;
mod devices;
mod disks;
mod drain;
mod export;
mod files;
mod gate;
mod ids;
mod io;
mod params;
mod rules;
mod search;
mod session;
mod slot;
mod subject;

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
    _queue: OwnedQueue,
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
        let queue = OwnedQueue::new(c"rnbd_server", Kind::Unbound)?;
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
