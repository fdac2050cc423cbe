// SPDX-License-Identifier: GPL-2.0-only

//! RDMA devices and their ports.

use std::net::{
    IpAddr,
    Ipv6Addr, //
};

use crate::system::System;

const INFINIBAND: &str = "/sys/class/infiniband";

/// A port of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Name of the device, and number of the port: `rxe0/1`.
    pub(crate) name: String,
    /// Its directory in sysfs.
    pub(crate) directory: String,
}

/// Returns the names of all devices.
pub(crate) fn devices(system: &System) -> Vec<String> {
    system.names(INFINIBAND)
}

/// Returns the ports of all devices.
pub(crate) fn ports(system: &System) -> Vec<Port> {
    let of = |device: String| {
        let parent = format!("{INFINIBAND}/{device}/ports");
        let numbers = system.names(&parent).into_iter();

        numbers.map(move |number| Port {
            name: format!("{device}/{number}"),
            directory: format!("{parent}/{number}"),
        })
    };
    devices(system).into_iter().flat_map(of).collect()
}

/// Returns the address of an entry of a GID table, unless the entry is empty.
pub(crate) fn gid_address(gid: &str) -> Option<IpAddr> {
    let address: Ipv6Addr = gid.parse().ok()?;

    (!address.is_unspecified()).then(|| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_gids() {
        let address = |gid| gid_address(gid).map(|it| it.to_string());
        let v4 = address("0000:0000:0000:0000:0000:ffff:0a32:6442");

        assert_eq!(v4.as_deref(), Some("10.50.100.66"));
        assert_eq!(
            address("fe80:0000:0000:0000:0000:0000:0000:0001").as_deref(),
            Some("fe80::1")
        );
        assert_eq!(address("0000:0000:0000:0000:0000:0000:0000:0000"), None);
        assert_eq!(address("x"), None);
    }
}
