// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, client side: maps devices of a server as disks.
//!
//! From the top down: `control` (sysfs, load and unload), `block_session` (map and unmap),
//! `mapping` (the parts of a mapped device), `disk_sysfs`, `rtrs_session`, `open_devices`,
//! `control_messages`, `requests` (I/O), `device`, `mq` (blk-mq).
//!
//! Objects, their owners and the order of their end: `Documentation/architecture-client.md`.

use kernel::prelude::*;

mod announce;
mod background;
mod block_session;
mod capacity;
mod control;
mod control_messages;
mod device;
mod disk_number;
mod disk_sysfs;
mod failed_connect;
mod follow;
mod mapping;
mod message_ids;
mod module_resources;
mod mq;
mod open_devices;
mod params;
mod partition_scan;
mod probe;
mod queue_limits;
mod requests;
mod rtrs_session;
mod session_registry;
mod stall;

module! {
    type: Client,
    name: "rnbd_client",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device client",
    license: "GPL",
}

rtrs::module_version!("rnbd_client");

/// The loaded module.
struct Client {
    _control: control::Control,
}

impl kernel::Module for Client {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _control: control::Control::new()?,
        })
    }
}
