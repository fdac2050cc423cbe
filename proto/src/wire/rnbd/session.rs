// SPDX-License-Identifier: GPL-2.0-only

//! SESS_INFO and SESS_INFO_RSP, the handshake of a session: both sides send their version, and
//! the lower one applies.
//!
//! Features beyond the C drivers are negotiated in bytes that these leave unused. The C drivers
//! ignore the bytes but may send garbage there, so a magic number of 32 bits shows whether they
//! are valid.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    async_event::EventCount,
    error::WireError,
    wire, //
};

use super::{
    Header,
    TYPE_SESS_INFO,
    TYPE_SESS_INFO_RSP,
    VERSION_MAJOR, //
};

/// Size of a SESS_INFO in bytes.
const SESS_INFO_SIZE: usize = 36;
/// Size of a SESS_INFO_RSP in bytes.
pub const SESS_INFO_RSP_SIZE: usize = 36;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireSessInfo {
    header: Header,
    ver: u8,
    reserved1: [u8; 3],
    /// Reserved in C, like all later bytes. [`Features::MAGIC`] if the next two fields are valid.
    magic: U32,
    features: U32,
    /// Count of events, in the response only.
    event_count: U32,
    reserved2: [u8; 16],
}

const _: () = assert!(size_of::<WireSessInfo>() == SESS_INFO_SIZE);
const _: () = assert!(size_of::<WireSessInfo>() == SESS_INFO_RSP_SIZE);

fn parse(bytes: &[u8], kind: u16) -> Result<WireSessInfo, WireError> {
    let msg: WireSessInfo = wire::read(bytes)?;

    msg.header.expect(kind)?;
    if msg.ver == 0 {
        return Err(WireError::Version(0));
    }
    Ok(msg)
}

fn encode(kind: u16, ver: u8, features: Features, event_count: EventCount) -> [u8; SESS_INFO_SIZE] {
    let magic = match features {
        Features::NONE => 0,
        _ => Features::MAGIC,
    };
    zerocopy::transmute!(WireSessInfo {
        header: Header::new(kind),
        ver,
        reserved1: [0; 3],
        magic: magic.into(),
        features: features.0.into(),
        event_count: event_count.get().into(),
        reserved2: [0; 16],
    })
}

/// Features beyond the C drivers that both sides must have.
///
/// # Invariants
///
/// Only known features are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Those of a C driver: none.
    pub const NONE: Self = Self(0);
    /// The server reports changes of devices in its heartbeats ([`EventCount`]) and accepts
    /// [`super::DevInfo`].
    pub const ASYNC_EVENTS: Self = Self(1 << 0);
    /// The server accepts [`super::DescribeMsg`].
    pub const DESCRIPTIONS: Self = Self(1 << 1);
    /// All features of this implementation.
    pub const OURS: Self = Self(Self::ASYNC_EVENTS.0 | Self::DESCRIPTIONS.0);

    /// `RNB+` as it is on the wire.
    const MAGIC: u32 = u32::from_le_bytes(*b"RNB+");

    fn of(msg: &WireSessInfo) -> Self {
        match msg.magic.get() {
            Self::MAGIC => Self::from_bits(msg.features.get()),
            _ => Self::NONE,
        }
    }

    /// Returns the features whose bits are set in `bits`, without unknown ones.
    pub const fn from_bits(bits: u32) -> Self {
        // INVARIANT: Unknown features are masked out.
        Self(bits & Self::OURS.0)
    }

    /// Returns a bit for each feature.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether all of `features` are among these.
    pub const fn has(self, features: Self) -> bool {
        self.0 & features.0 == features.0
    }
}

/// A client's SESS_INFO.
///
/// # Invariants
///
/// `ver` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessInfo {
    ver: u8,
    features: Features,
}

impl SessInfo {
    /// The message of this implementation.
    // INVARIANT: The version is not 0.
    pub const OURS: Self = Self {
        ver: VERSION_MAJOR,
        features: Features::OURS,
    };

    /// Parses the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg = parse(bytes, TYPE_SESS_INFO)?;
        // INVARIANT: `parse` refuses 0.
        Ok(Self {
            ver: msg.ver,
            features: Features::of(&msg),
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; SESS_INFO_SIZE] {
        encode(TYPE_SESS_INFO, self.ver, self.features, EventCount::NONE)
    }

    /// Returns the features that both the client and this implementation have.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Creates the server's response, with the session's count of events.
    pub fn respond(&self, event_count: EventCount) -> SessInfoRsp {
        // INVARIANT: Neither is 0.
        SessInfoRsp {
            ver: self.ver.min(VERSION_MAJOR),
            features: self.features,
            event_count: match self.features.has(Features::ASYNC_EVENTS) {
                true => event_count,
                false => EventCount::NONE,
            },
        }
    }
}

/// A server's SESS_INFO_RSP.
///
/// # Invariants
///
/// `ver` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessInfoRsp {
    ver: u8,
    features: Features,
    event_count: EventCount,
}

impl SessInfoRsp {
    /// Parses the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg = parse(bytes, TYPE_SESS_INFO_RSP)?;
        let features = Features::of(&msg);
        // INVARIANT: `parse` refuses 0.
        Ok(Self {
            ver: msg.ver,
            features,
            event_count: match features.has(Features::ASYNC_EVENTS) {
                true => EventCount::new(msg.event_count.get()),
                false => EventCount::NONE,
            },
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; SESS_INFO_RSP_SIZE] {
        encode(
            TYPE_SESS_INFO_RSP,
            self.ver,
            self.features,
            self.event_count,
        )
    }

    /// Returns the features that both sides have.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Returns the session's count of events, if the server reports events.
    pub fn event_count(&self) -> Option<EventCount> {
        self.features
            .has(Features::ASYNC_EVENTS)
            .then_some(self.event_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // All bytes after the version are reserved in C.
        assert_layout!(WireSessInfo, 36, {
            header: 0, ver: 4, reserved1: 5, magic: 8, features: 12, event_count: 16, reserved2: 20,
        });
    }
}
