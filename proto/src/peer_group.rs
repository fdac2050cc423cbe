// SPDX-License-Identifier: GPL-2.0-only

//! Whom quotas and log budgets count as one peer.
//!
//! | address | one peer is |
//! |---|---|
//! | IPv4, also mapped into IPv6 | the address |
//! | IPv6 | the prefix of 64 bits, with the interface if the address is link-local |
//! | GID of InfiniBand | the GID |
//!
//! A machine may take any number of the IPv6 addresses of its network, so that a quota for each
//! of them would be none. The GIDs of a fabric have a prefix in common, too, but their other
//! half is given to a port by its vendor or the subnet manager.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::peer_group::PeerGroup;
//! use rnbd_proto::session_identity::PathEnd;
//! use rnbd_proto::text::path_addr::Addr;
//!
//! let group = |last| {
//!     let addr = Addr::V6 { addr: [0xfd00, 0, 0, 0, 0, 0, 0, last].into(), scope: None };
//!     PeerGroup::from(PathEnd { addr, scope: 0 })
//! };
//! assert_eq!(group(1), group(2));
//! ```

use core::net::{
    IpAddr,
    Ipv6Addr, //
};

use crate::{
    session_identity::PathEnd,
    text::path_addr::Addr, //
};

/// The part of an IPv6 address that counts.
const PREFIX: u128 = !(u64::MAX as u128);

/// Which of the addresses of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    V4,
    V6,
    Gid,
    /// Of no family that is known.
    Unknown,
}

/// A peer, as quotas and log budgets count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerGroup {
    kind: Kind,
    bits: u128,
    /// The interface of a link-local prefix, which each interface has one of.
    scope: u32,
}

impl PeerGroup {
    /// The peers whose address is of an unknown family, taken together.
    pub const UNKNOWN: Self = Self::new(Kind::Unknown, 0, 0);

    const fn new(kind: Kind, bits: u128, scope: u32) -> Self {
        Self { kind, bits, scope }
    }

    fn of_v6(addr: Ipv6Addr, scope: u32) -> Self {
        match IpAddr::V6(addr).to_canonical() {
            IpAddr::V4(addr) => Self::new(Kind::V4, addr.to_bits().into(), 0),
            IpAddr::V6(addr) => {
                let scope = if addr.is_unicast_link_local() {
                    scope
                } else {
                    0
                };

                Self::new(Kind::V6, addr.to_bits() & PREFIX, scope)
            }
        }
    }

    /// Returns a number that is the same for the same peer, and most likely another one for
    /// another peer; never 0.
    pub const fn key(self) -> u64 {
        let kind = self.kind as u64;
        let mixed = (self.bits >> 64) as u64 ^ (self.bits as u64).rotate_left(32);
        // An odd multiplier loses no bits (that of Fibonacci hashing).
        let apart = kind ^ ((self.scope as u64) << 8);
        let key = (mixed ^ apart).wrapping_mul(0x9e37_79b9_7f4a_7c15);

        if key == 0 {
            1
        } else {
            key
        }
    }
}

impl From<PathEnd> for PeerGroup {
    fn from(end: PathEnd) -> Self {
        match end.addr {
            Addr::V4(addr) => Self::new(Kind::V4, addr.to_bits().into(), 0),
            Addr::V6 { addr, .. } => Self::of_v6(addr, end.scope),
            Addr::Gid(gid) => Self::new(Kind::Gid, u128::from_be_bytes(gid), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str, scope: u32) -> PeerGroup {
        let addr = match Addr::parse(text.as_bytes()).unwrap() {
            Addr::V4(addr) => Addr::V4(addr),
            Addr::V6 { addr, .. } => Addr::V6 { addr, scope: None },
            Addr::Gid(gid) => Addr::Gid(gid),
        };
        PeerGroup::from(PathEnd { addr, scope })
    }

    #[test]
    fn addresses_of_one_machine_are_one_peer() {
        for (one, other, same) in [
            ("ip:10.0.0.1", "ip:10.0.0.1", true),
            ("ip:10.0.0.1", "ip:10.0.0.2", false),
            ("ip:10.0.0.1", "ip:::ffff:10.0.0.1", true),
            ("ip:fd00:0:0:1::1", "ip:fd00:0:0:1:ffff::2", true),
            ("ip:fd00:0:0:1::1", "ip:fd00:0:0:2::1", false),
            ("gid:fe80::1", "gid:fe80::1", true),
            ("gid:fe80::1", "gid:fe80::2", false),
            ("gid:fd00:0:0:1::", "ip:fd00:0:0:1::", false),
        ] {
            let (one_group, other_group) = (group(one, 0), group(other, 0));
            assert_eq!(one_group == other_group, same, "{one} {other}");
            assert_eq!(one_group.key() == other_group.key(), same, "{one} {other}");
        }
        assert_ne!(group("ip:fe80::1", 2), group("ip:fe80::1", 3));
        assert_eq!(group("ip:fe80::1", 2), group("ip:fe80::9", 2));
        assert_eq!(group("ip:fd00::1", 2), group("ip:fd00::1", 3));
        assert_ne!(PeerGroup::UNKNOWN, group("ip:0.0.0.0", 0));
        assert_ne!(group("ip:0.0.0.0", 0).key(), 0);
    }
}
