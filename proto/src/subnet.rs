// SPDX-License-Identifier: GPL-2.0-only

//! Ranges of addresses, to be compared with the address of a peer.
//!
//! A range is written `[ip:]<IPv4 or IPv6>[/<bits>]` or `gid:<GID>[/<bits>]`; without bits it
//! is a single address. Bits of the address after the prefix are ignored. A range contains
//! addresses of its family only; an IPv4-mapped IPv6 address (`::ffff:0:0/96`) counts as IPv4.

use core::{
    fmt,
    net::{
        IpAddr,
        Ipv6Addr, //
    }, //
};

use crate::text::path_addr::Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Gid,
}

impl Family {
    /// Returns the number of bits of an address.
    const fn width(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 | Self::Gid => 128,
        }
    }
}

/// The address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr {
    family: Family,
    bits: u128,
}

/// Length of the prefix of IPv4-mapped IPv6 addresses, in bits.
const MAPPED_BITS: u32 = 96;

impl PeerAddr {
    fn from_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self {
                family: Family::V4,
                bits: ip.to_bits().into(),
            },
            IpAddr::V6(ip) => Self {
                family: Family::V6,
                bits: ip.to_bits(),
            },
        }
    }

    fn from_gid(gid: Ipv6Addr) -> Self {
        Self {
            family: Family::Gid,
            bits: gid.to_bits(),
        }
    }
}

impl From<Addr<'_>> for PeerAddr {
    /// Drops the scope of the address.
    fn from(addr: Addr<'_>) -> Self {
        match addr {
            Addr::V4(ip) => Self::from_ip(ip.into()),
            Addr::V6 { addr, .. } => Self::from_ip(addr.into()),
            Addr::Gid(gid) => Self::from_gid(gid.into()),
        }
    }
}

/// Why a range was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubnetError {
    /// The address is malformed.
    Addr,
    /// The number of bits is malformed, or larger than the address.
    Bits,
}

impl fmt::Display for SubnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addr => "is not an address",
            Self::Bits => "has a bad number of bits",
        })
    }
}

/// A range of addresses: all that have the same prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: PeerAddr,
    /// Length of the prefix in bits, at most the width of an address.
    prefix_len: u32,
}

impl Subnet {
    /// Parses a range.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, SubnetError> {
        let text = core::str::from_utf8(text).map_err(|_| SubnetError::Addr)?;
        let (addr, prefix_len) = match text.split_once('/') {
            Some((addr, bits)) => (addr, Some(bits)),
            None => (text, None),
        };
        let (first, width) = match addr.strip_prefix("gid:") {
            Some(gid) => {
                let gid = gid.parse().map_err(|_| SubnetError::Addr)?;
                (PeerAddr::from_gid(gid), Family::Gid.width())
            }
            None => {
                let ip = addr.strip_prefix("ip:").unwrap_or(addr);
                let ip: IpAddr = ip.parse().map_err(|_| SubnetError::Addr)?;
                // The width is that of the address as written, even if it is mapped.
                (PeerAddr::from_ip(ip), if ip.is_ipv4() { 32 } else { 128 })
            }
        };
        let prefix_len = match prefix_len {
            Some(bits) => parse_bits(bits).ok_or(SubnetError::Bits)?,
            None => width,
        };
        if prefix_len > width {
            return Err(SubnetError::Bits);
        }
        if first.family.width() == width {
            return Ok(Self { first, prefix_len });
        }
        // A shorter prefix would cover addresses of both families.
        let prefix_len = prefix_len
            .checked_sub(MAPPED_BITS)
            .ok_or(SubnetError::Bits)?;
        Ok(Self { first, prefix_len })
    }

    /// Returns whether the range contains `peer`.
    pub(crate) fn contains(self, peer: PeerAddr) -> bool {
        let host_bits = self.first.family.width().saturating_sub(self.prefix_len);
        let differ = self.first.bits ^ peer.bits;

        // With an empty prefix all bits are shifted out.
        self.first.family == peer.family && differ.checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// Parses a number of bits: no sign, no leading zeroes.
fn parse_bits(text: &str) -> Option<u32> {
    let leading_zero = text.len() > 1 && text.starts_with('0');

    if leading_zero || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A list of ranges, separated by commas.
///
/// # Invariants
///
/// There is at least one range, and all are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnets<'a>(&'a [u8]);

impl<'a> Subnets<'a> {
    /// Parses a list; the error contains the range that is wrong.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, (&'a [u8], SubnetError)> {
        for range in split(text) {
            Subnet::parse(range).map_err(|reason| (range, reason))?;
        }
        // INVARIANT: All were parsed above; `split` returns at least one part.
        Ok(Self(text))
    }

    /// Returns whether any of the ranges contains `peer`.
    pub(crate) fn contains(self, peer: PeerAddr) -> bool {
        split(self.0).any(|range| Subnet::parse(range).is_ok_and(|range| range.contains(peer)))
    }
}

fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_addresses() {
        for (range, addr, expected) in [
            ("10.0.0.5", "ip:10.0.0.5", true),
            ("ip:10.0.0.5", "ip:10.0.0.5", true),
            ("10.0.0.5", "ip:10.0.0.6", false),
            ("10.0.0.0/24", "ip:10.0.0.255", true),
            ("10.0.0.0/24", "ip:10.0.1.0", false),
            ("10.0.0.77/24", "ip:10.0.0.5", true),
            ("10.0.0.4/31", "ip:10.0.0.5", true),
            ("10.0.0.4/31", "ip:10.0.0.6", false),
            ("0.0.0.0/0", "ip:203.0.113.9", true),
            ("0.0.0.0/0", "ip:::1", false),
            ("::/0", "ip:203.0.113.9", false),
            ("::/0", "ip:fd00::1", true),
            ("fd00:50::/32", "ip:fd00:50:ffff::1", true),
            ("fd00:50::/32", "ip:fd00:51::", false),
            ("fd00::1", "ip:fd00::1", true),
            ("fd00::1/127", "ip:fd00::", true),
            ("fd00::1/128", "ip:fd00::", false),
            ("fe80::1", "ip:fe80::1%eth0", true),
            ("::ffff:10.0.0.0/104", "ip:10.255.0.1", true),
            ("::ffff:10.0.0.5", "ip:10.0.0.5", true),
            ("10.0.0.5", "ip:::ffff:10.0.0.5", true),
            ("gid:fe80::/10", "gid:fe80::1", true),
            ("gid:fe80::1", "ip:fe80::1", false),
            ("fe80::1", "gid:fe80::1", false),
        ] {
            let peer = Addr::parse(addr.as_bytes()).unwrap().into();
            let parsed = Subnet::parse(range.as_bytes()).unwrap();
            assert_eq!(parsed.contains(peer), expected, "{range} {addr}");
        }
        for bad in [
            "",
            "/",
            "/24",
            "10.0.0",
            "10.0.0.5/",
            "10.0.0.5/33",
            "10.0.0.5/-1",
            "10.0.0.5/+1",
            "10.0.0.5/024",
            "10.0.0.5/8/8",
            "fd00::/129",
            "fd00::1::2",
            "gid:",
            "gid:10.0.0.5",
            "gid:fe80::/129",
            "ip:gid:fe80::",
            "host",
            "::ffff:10.0.0.5/64",
            "fe80::1%eth0",
            "10.0.0.5/4294967297",
            "10.0.0.5 ",
        ] {
            assert!(Subnet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
