// SPDX-License-Identifier: GPL-2.0-only

//! The greeting of a session: both sides tell their version, the lower one counts.

use zerocopy_derive::FromBytes;
use zerocopy_derive::Immutable;
use zerocopy_derive::IntoBytes;
use zerocopy_derive::KnownLayout;
use zerocopy_derive::Unaligned;

use super::Header;
use super::TYPE_SESS_INFO;
use super::TYPE_SESS_INFO_RSP;
use super::VERSION_MAJOR;
use crate::error::WireError;
use crate::wire;

/// Length of a SESS_INFO in bytes.
pub const SESS_INFO_SIZE: usize = 36;
/// Length of a SESS_INFO_RSP in bytes.
pub const SESS_INFO_RSP_SIZE: usize = 36;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireSessInfo {
    header: Header,
    ver: u8,
    reserved: [u8; 31],
}

const _: () = assert!(size_of::<WireSessInfo>() == SESS_INFO_SIZE);
const _: () = assert!(size_of::<WireSessInfo>() == SESS_INFO_RSP_SIZE);

fn parse(bytes: &[u8], kind: u16) -> Result<u8, WireError> {
    let msg: WireSessInfo = wire::read(bytes)?;

    msg.header.expect(kind)?;
    if msg.ver == 0 {
        return Err(WireError::Version(0));
    }
    Ok(msg.ver)
}

fn encode(kind: u16, ver: u8) -> [u8; SESS_INFO_SIZE] {
    zerocopy::transmute!(WireSessInfo {
        header: Header::new(kind),
        ver,
        reserved: [0; 31],
    })
}

/// A client's greeting.
///
/// # Invariants
///
/// `ver` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessInfo {
    ver: u8,
}

impl SessInfo {
    /// The greeting of this implementation.
    // INVARIANT: The version is not 0.
    pub const OURS: Self = Self { ver: VERSION_MAJOR };

    /// Reads the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        // INVARIANT: `parse` refuses 0.
        parse(bytes, TYPE_SESS_INFO).map(|ver| Self { ver })
    }

    /// The message to send.
    pub fn encode(&self) -> [u8; SESS_INFO_SIZE] {
        encode(TYPE_SESS_INFO, self.ver)
    }

    /// The server's answer.
    pub fn answer(&self) -> SessInfoRsp {
        // INVARIANT: Neither is 0.
        SessInfoRsp {
            ver: self.ver.min(VERSION_MAJOR),
        }
    }
}

/// A server's greeting in return.
///
/// # Invariants
///
/// `ver` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessInfoRsp {
    ver: u8,
}

impl SessInfoRsp {
    /// Reads the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        // INVARIANT: `parse` refuses 0.
        parse(bytes, TYPE_SESS_INFO_RSP).map(|ver| Self { ver })
    }

    /// The message to send.
    pub fn encode(&self) -> [u8; SESS_INFO_RSP_SIZE] {
        encode(TYPE_SESS_INFO_RSP, self.ver)
    }

    /// The version both sides speak from now on.
    pub fn version(&self) -> u8 {
        self.ver.min(VERSION_MAJOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireSessInfo, 36, { header: 0, ver: 4, reserved: 5 });
    }
}
