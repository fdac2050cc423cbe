// SPDX-License-Identifier: GPL-2.0-only

//! Ranges of addresses, and whether a peer's is among them.
//!
//! Written `[ip:]<IPv4 or IPv6>[/<bits>]` or `gid:<GID>[/<bits>]`; without bits, the one
//! address. Bits of the address beyond those that count are ignored. The three families
//! have nothing in common, but for the IPv6 addresses that stand for IPv4 ones
//! (`::ffff:0:0/96`), which are those.

use core::fmt;
use core::net::IpAddr;
use core::net::Ipv6Addr;

use crate::text::path_addr::Addr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Gid,
}

impl Family {
    /// Bits of an address.
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

/// Bits that all IPv6 addresses which stand for IPv4 ones begin with.
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
    /// The scope of an address does not count.
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
    /// Not an address.
    Addr,
    /// Not a number of bits that the address has.
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

/// A range of addresses: those that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: PeerAddr,
    /// At most the width of an address.
    len: u32,
}

impl Subnet {
    /// Reads a range.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, SubnetError> {
        let text = core::str::from_utf8(text).map_err(|_| SubnetError::Addr)?;
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
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
                // Of the address as it is written, mapped or not.
                (PeerAddr::from_ip(ip), if ip.is_ipv4() { 32 } else { 128 })
            }
        };
        let len = match len {
            Some(len) => bits(len).ok_or(SubnetError::Bits)?,
            None => width,
        };
        if len > width {
            return Err(SubnetError::Bits);
        }
        if first.family.width() == width {
            return Ok(Self { first, len });
        }
        // Less would cover both sorts of addresses.
        let len = len.checked_sub(MAPPED_BITS).ok_or(SubnetError::Bits)?;
        Ok(Self { first, len })
    }

    /// Whether `peer` is one of them.
    pub(crate) fn contains(self, peer: PeerAddr) -> bool {
        let rest = self.first.family.width().saturating_sub(self.len);
        let differ = self.first.bits ^ peer.bits;

        // All bits are shifted out of an address of 128 if none counts.
        self.first.family == peer.family && differ.checked_shr(rest).unwrap_or(0) == 0
    }
}

/// A number of bits, as it would be printed: no sign, no zeroes ahead.
fn bits(text: &str) -> Option<u32> {
    let zeroes = text.len() > 1 && text.starts_with('0');

    if zeroes || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Ranges separated by commas.
///
/// # Invariants
///
/// At least one range, and all can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnets<'a>(&'a [u8]);

impl<'a> Subnets<'a> {
    /// Reads ranges; the error has the one that is wrong.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, (&'a [u8], SubnetError)> {
        for range in split(text) {
            Subnet::parse(range).map_err(|reason| (range, reason))?;
        }
        // INVARIANT: All were read above; what is split is never nothing.
        Ok(Self(text))
    }

    /// Whether `peer` is in any of them.
    pub(crate) fn contain(self, peer: PeerAddr) -> bool {
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
