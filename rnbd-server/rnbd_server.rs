// SPDX-License-Identifier: GPL-2.0-only

//! RDMA network block device, server side.

use kernel::prelude::*;

module! {
    type: Server,
    name: "rnbd_server",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA network block device server",
    license: "GPL",
}

/// The module itself.
struct Server;

impl kernel::Module for Server {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
