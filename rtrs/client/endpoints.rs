// SPDX-License-Identifier: GPL-2.0-only

//! The local end of a connected path.

use crate::{
    kernel_ext::net::SockAddr,
    rdma::connection::Connection, //
};

/// Local address, RDMA device and port of a path, for its name and its files.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    pub(super) src: SockAddr,
    /// Name of the RDMA device, of which `device_len` bytes count.
    device: [u8; DEVICE_NAME_MAX],
    device_len: usize,
    /// Port of the device, from 1.
    pub(super) port: u32,
}

/// Longest name of an RDMA device, in bytes.
const DEVICE_NAME_MAX: usize = 64;

impl Endpoints {
    /// Copies those of a connection.
    pub(super) fn of<C: Send + Sync>(connection: &Connection<C>) -> Self {
        let name = connection.pd().device_name().to_bytes();
        let mut device = [0; DEVICE_NAME_MAX];
        let device_len = name.len().min(DEVICE_NAME_MAX);
        for (to, from) in device.iter_mut().zip(name) {
            *to = *from;
        }
        Self {
            src: connection.src(),
            device,
            device_len,
            port: connection.port(),
        }
    }

    /// Returns the name of the RDMA device.
    pub(super) fn device(&self) -> &[u8] {
        self.device.get(..self.device_len).unwrap_or_default()
    }
}
