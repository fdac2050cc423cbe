// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, client side.

use kernel::prelude::*;

module! {
    type: Client,
    name: "rnbd_client",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device client",
    license: "GPL",
}

/// The module itself.
struct Client;

impl kernel::Module for Client {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
