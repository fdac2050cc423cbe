// SPDX-License-Identifier: GPL-2.0-only

//! RDMA transport: both sides of it in one module, used by the RNBD client and
//! server as the crate `rtrs`.

use kernel::prelude::*;

pub mod bindings;
pub mod client;
mod common;
pub mod kernel_ext;
mod rdma;
pub mod server;

module! {
    type: Rtrs,
    name: "rtrs",
    authors: ["The RNBD in Rust authors"],
    description: "RDMA transport for network block devices",
    license: "GPL",
    // As the modules of C are called.
    alias: ["rtrs_client", "rtrs_server"],
}

crate::module_version!("rtrs");

/// The module itself.
struct Rtrs {
    _keyring: kernel_ext::keyring::Registration,
    _link_down: Pin<KBox<rdma::LinkDownNotifier>>,
    _callbacks: kernel_ext::sysfs::CallbacksReturned,
}

impl kernel::Module for Rtrs {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        server::check_params()?;
        Ok(Self {
            _keyring: kernel_ext::keyring::register()?,
            // SAFETY: Once, at load; nothing can use the transport yet.
            _link_down: unsafe { rdma::LinkDownNotifier::register() }?,
            _callbacks: kernel_ext::sysfs::CallbacksReturned,
        })
    }
}
