// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, client side.

use kernel::prelude::*;

mod block_session;
mod capacity;
mod claimed_name;
mod control;
mod device;
mod disk_number;
mod disk_sysfs;
mod mapping;
mod mq;
mod open_devices;
mod requests;
mod rtrs_session;
mod session_registry;

module! {
    type: Client,
    name: "rnbd_client",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device client",
    license: "GPL",
}

rtrs::module_version!("rnbd_client");

/// The module itself.
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
