// SPDX-License-Identifier: GPL-2.0-only

//! The end of a path on this side.

use super::conn::Conn;
use crate::kernel_ext::net::SockAddr;
use crate::rdma::connection::Connection;

/// By what a path is connected, for its name and its files.
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
    /// Those of a connected link.
    pub(super) fn of(control: &Connection<Conn>) -> Self {
        let name = control.pd().device_name().to_bytes();
        let mut device = [0; DEVICE_NAME_MAX];
        let device_len = name.len().min(DEVICE_NAME_MAX);
        for (to, from) in device.iter_mut().zip(name) {
            *to = *from;
        }
        Self {
            src: control.src(),
            device,
            device_len,
            port: control.port(),
        }
    }

    /// Name of the RDMA device.
    pub(super) fn device(&self) -> &[u8] {
        self.device.get(..self.device_len).unwrap_or_default()
    }
}
