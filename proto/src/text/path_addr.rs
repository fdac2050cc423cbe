// SPDX-License-Identifier: GPL-2.0-only

//! Addresses of a path: `[src(,|@)]dst`, each `ip:<v4>`, `ip:<v6>[%scope]` or
//! `gid:<gid>`.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::text::path_addr::Addr;
//! use rnbd_proto::text::path_addr::PathAddr;
//!
//! let path = PathAddr::parse(b"ip:10.0.0.1,ip:10.0.0.2").expect("two addresses");
//! assert_eq!(path.dst, Addr::V4([10, 0, 0, 2].into()));
//! // The name of the path's directory in sysfs.
//! assert_eq!(path.to_string(), "ip:10.0.0.1@ip:10.0.0.2");
//! ```

use core::{
    fmt,
    net::{
        Ipv4Addr,
        Ipv6Addr, //
    }, //
};

use crate::error::{
    EINVAL,
    EPROTONOSUPPORT, //
};

/// Longest scope: the name of a network interface, in bytes.
pub const MAX_SCOPE: usize = 15;

/// Why an address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrError {
    /// The text starts with neither `ip:` nor `gid:`.
    Family,
    /// No IP address follows `ip:`.
    Ip,
    /// No GID follows `gid:`.
    Gid,
    /// The scope is empty or too long, or the address takes none.
    Scope,
}

impl AddrError {
    /// Returns the error number (positive) for the writer of `map_device`. That of an unknown
    /// family is its own, as in C, and so scripts can tell it from a typing error.
    pub const fn errno(self) -> i32 {
        match self {
            Self::Family => EPROTONOSUPPORT,
            Self::Ip | Self::Gid | Self::Scope => EINVAL,
        }
    }
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Family => "starts with neither ip: nor gid:",
            Self::Ip => "is not an IP address",
            Self::Gid => "is not a GID",
            Self::Scope => "has a bad scope",
        })
    }
}

/// Address of one end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addr<'a> {
    /// `ip:` with an IPv4 address.
    V4(Ipv4Addr),
    /// `ip:` with an IPv6 address.
    V6 {
        /// The address.
        addr: Ipv6Addr,
        /// Name or number of the interface, for a link-local address.
        scope: Option<&'a str>,
    },
    /// `gid:`, the native address of an RDMA port; written like IPv6.
    Gid([u8; 16]),
}

impl<'a> Addr<'a> {
    /// Parses one address.
    pub fn parse(text: &'a [u8]) -> Result<Self, AddrError> {
        if let Some(gid) = text.strip_prefix(b"gid:") {
            let gid = parse_v6(gid).ok_or(AddrError::Gid)?;
            return Ok(Self::Gid(gid.octets()));
        }
        let ip = text.strip_prefix(b"ip:").ok_or(AddrError::Family)?;
        let ip = core::str::from_utf8(ip).map_err(|_| AddrError::Ip)?;
        if let Ok(addr) = ip.parse() {
            return Ok(Self::V4(addr));
        }
        let percent = ip.bytes().position(|b| b == b'%');
        let (ip, scope) = match percent.and_then(|at| ip.split_at_checked(at)) {
            Some((ip, scope)) => (ip, scope.get(1..)),
            None => (ip, None),
        };
        let addr = parse_v6(ip.as_bytes()).ok_or(AddrError::Ip)?;
        if let Some(scope) = scope {
            // No other address has a scope; C ignores it.
            if !is_link_local(&addr) || !(1..=MAX_SCOPE).contains(&scope.len()) {
                return Err(AddrError::Scope);
            }
        }
        Ok(Self::V6 { addr, scope })
    }
}

fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether `addr` is in `fe80::/10`.
const fn is_link_local(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xffc0 == 0xfe80
}

/// Prints an address as in the name of a path's directory, without scope.
impl fmt::Display for Addr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(addr) => write!(f, "ip:{addr}"),
            Self::V6 { addr, .. } => {
                f.write_str("ip:")?;
                fmt_v6(addr, f)
            }
            Self::Gid(gid) => {
                f.write_str("gid:")?;
                for (i, segment) in Ipv6Addr::from(*gid).segments().iter().enumerate() {
                    let colon = if i == 0 { "" } else { ":" };
                    write!(f, "{colon}{segment:04x}")?;
                }
                Ok(())
            }
        }
    }
}

/// Prints what `%pI6c` prints.
///
/// That is the form that RFC 5952 recommends, with one addition: the last 32 bits of an
/// ISATAP address (RFC 5214) are printed as IPv4.
fn fmt_v6(addr: &Ipv6Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let segments = addr.segments();
    let is_isatap = segments[4] & !0x0200 == 0 && segments[5] == 0x5efe;
    if !is_isatap || addr.to_ipv4_mapped().is_some() {
        return write!(f, "{addr}");
    }

    // The interface id starts with 0:5efe or 200:5efe, so only zeroes among the first five
    // segments can be shortened.
    let head = &segments[..6];
    let (start, len) = longest_zeroes(head);
    let mut colon = "";
    for (i, segment) in head.iter().enumerate() {
        if len > 1 && i == start {
            f.write_str("::")?;
            colon = "";
        }
        if len > 1 && (start..start.saturating_add(len)).contains(&i) {
            continue;
        }
        write!(f, "{colon}{segment:x}")?;
        colon = ":";
    }
    let [.., a, b, c, d] = addr.octets();
    write!(f, ":{}", Ipv4Addr::new(a, b, c, d))
}

/// Returns start and length of the first of the longest runs of zeroes.
fn longest_zeroes(segments: &[u16]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = (0, 0usize);
    for (i, segment) in segments.iter().enumerate() {
        run = match (*segment, run) {
            (0, (start, len)) if len > 0 => (start, len.saturating_add(1)),
            (0, _) => (i, 1),
            _ => (0, 0),
        };
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}

/// Addresses of both ends of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAddr<'a> {
    /// The local end; chosen by routing if not given.
    pub src: Option<Addr<'a>>,
    /// The server.
    pub dst: Addr<'a>,
}

impl<'a> PathAddr<'a> {
    /// Parses `dst`, `src,dst` or `src@dst`.
    pub fn parse(text: &'a [u8]) -> Result<Self, AddrError> {
        let separator = [b',', b'@']
            .iter()
            .find_map(|s| text.iter().position(|b| b == s));
        let (src, dst) = match separator.and_then(|at| text.split_at_checked(at)) {
            Some((src, [_, dst @ ..])) => (Some(src), dst),
            _ => (None, text),
        };
        Ok(Self {
            src: src.map(Addr::parse).transpose()?,
            dst: Addr::parse(dst)?,
        })
    }
}

/// Prints `src@dst`, the name of the path's directory, or `dst` alone.
impl fmt::Display for PathAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(src) = &self.src {
            write!(f, "{src}@")?;
        }
        self.dst.fmt(f)
    }
}
