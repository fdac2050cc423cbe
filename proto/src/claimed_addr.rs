// SPDX-License-Identifier: GPL-2.0-only

//! Whether the address that a connection request claims belongs to the GID that it came from.
//!
//! A request of the connection manager carries the IP addresses of both ends in its private data,
//! where a peer can write any. The packets of the connection have the address of its GID: over
//! RoCE that is an IP address, too, and must be the same one, so that filters of the network see
//! the address that decides.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::claimed_addr::belongs_to_gid;
//! use rnbd_proto::text::path_addr::Addr;
//!
//! let gid = "::ffff:10.0.0.7".parse().expect("an address");
//! assert!(belongs_to_gid(Addr::V4([10, 0, 0, 7].into()), gid));
//! assert!(!belongs_to_gid(Addr::V4([10, 0, 0, 8].into()), gid));
//! ```

use core::net::Ipv6Addr;

use crate::text::path_addr::Addr;

/// Returns whether `addr` is that of `gid`, the GID of a RoCE port (`rdma_ip2gid` in C).
pub fn belongs_to_gid(addr: Addr<'_>, gid: Ipv6Addr) -> bool {
    match addr {
        Addr::V4(addr) => addr.to_ipv6_mapped() == gid,
        Addr::V6 { addr, .. } => addr == gid,
        Addr::Gid(addr) => addr == gid.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_its_gid_only() {
        for (addr, gid, belongs) in [
            ("ip:10.0.0.7", "::ffff:10.0.0.7", true),
            ("ip:10.0.0.7", "::ffff:10.0.0.8", false),
            // Deprecated, and not what the kernel makes.
            ("ip:10.0.0.7", "::10.0.0.7", false),
            ("ip:10.0.0.7", "fe80::5054:ff:fe50:42", false),
            ("ip:fd00::7", "fd00::7", true),
            ("ip:fd00::7", "fd00::8", false),
            ("ip:fe80::7", "fe80::7", true),
            ("gid:fe80::7", "fe80::7", true),
            ("gid:fe80::7", "fe80::8", false),
        ] {
            let parsed = Addr::parse(addr.as_bytes()).unwrap();
            assert_eq!(
                belongs_to_gid(parsed, gid.parse().unwrap()),
                belongs,
                "{addr} {gid}"
            );
        }
    }
}
