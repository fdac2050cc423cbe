// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, client side.

use kernel::prelude::*;

mod control;
mod device;
mod disk_files;
mod mapped;
mod mq;
mod numbers;
mod place;
mod registry;
mod requests;
mod roster;
mod session;
mod sizing;
mod transport;

module! {
    type: Client,
    name: "rnbd_client",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device client",
    license: "GPL",
}

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
