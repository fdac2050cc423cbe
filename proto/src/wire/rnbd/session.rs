// SPDX-License-Identifier: GPL-2.0-only

//! The greeting of a session: both sides tell their version, the lower one counts.
//!
//! What goes beyond the C drivers is agreed upon in bytes that these leave unused. They
//! do not look at them, but may send whatever was there before, so that a number of
//! 32 bits tells whether there is something to read.

use zerocopy::little_endian::U32;
use zerocopy_derive::FromBytes;
use zerocopy_derive::Immutable;
use zerocopy_derive::IntoBytes;
use zerocopy_derive::KnownLayout;
use zerocopy_derive::Unaligned;

use super::Header;
use super::TYPE_SESS_INFO;
use super::TYPE_SESS_INFO_RSP;
use super::VERSION_MAJOR;
use crate::async_event::EventCount;
use crate::error::WireError;
use crate::wire;

/// Length of a SESS_INFO in bytes.
const SESS_INFO_SIZE: usize = 36;
/// Length of a SESS_INFO_RSP in bytes.
pub const SESS_INFO_RSP_SIZE: usize = 36;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireSessInfo {
    header: Header,
    ver: u8,
    reserved1: [u8; 3],
    /// Reserved in C, as is all behind it. [`Features::MAGIC`] if the next two count.
    magic: U32,
    features: U32,
    /// In the answer.
    news: U32,
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

fn encode(kind: u16, ver: u8, features: Features, news: EventCount) -> [u8; SESS_INFO_SIZE] {
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
        news: news.get().into(),
        reserved2: [0; 16],
    })
}

/// What goes beyond the C drivers and needs both sides.
///
/// # Invariants
///
/// Nothing that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// A C driver.
    pub const NONE: Self = Self(0);
    /// The server tells in heartbeats when a device has changed ([`EventCount`]) and answers
    /// [`super::DevInfo`].
    pub const ASYNC_EVENTS: Self = Self(1 << 0);
    /// This implementation.
    pub const OURS: Self = Self::ASYNC_EVENTS;

    /// `RNB+` as it stands on the wire.
    const MAGIC: u32 = u32::from_le_bytes(*b"RNB+");

    fn of(msg: &WireSessInfo) -> Self {
        match msg.magic.get() {
            // INVARIANT: All else is taken out.
            Self::MAGIC => Self(msg.features.get() & Self::OURS.0),
            _ => Self::NONE,
        }
    }

    /// Whether all of `wanted` are among these.
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// A client's greeting.
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
    /// The greeting of this implementation.
    // INVARIANT: The version is not 0.
    pub const OURS: Self = Self {
        ver: VERSION_MAJOR,
        features: Features::OURS,
    };

    /// Reads the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg = parse(bytes, TYPE_SESS_INFO)?;
        // INVARIANT: `parse` refuses 0.
        Ok(Self {
            ver: msg.ver,
            features: Features::of(&msg),
        })
    }

    /// The message to send.
    pub fn encode(&self) -> [u8; SESS_INFO_SIZE] {
        encode(TYPE_SESS_INFO, self.ver, self.features, EventCount::NONE)
    }

    /// What the client can do of what this implementation can.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The server's answer, whose news stand at `news`.
    pub fn respond(&self, news: EventCount) -> SessInfoRsp {
        // INVARIANT: Neither is 0.
        SessInfoRsp {
            ver: self.ver.min(VERSION_MAJOR),
            features: self.features,
            news: match self.features.has(Features::ASYNC_EVENTS) {
                true => news,
                false => EventCount::NONE,
            },
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
    features: Features,
    news: EventCount,
}

impl SessInfoRsp {
    /// Reads the message.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg = parse(bytes, TYPE_SESS_INFO_RSP)?;
        let features = Features::of(&msg);
        // INVARIANT: `parse` refuses 0.
        Ok(Self {
            ver: msg.ver,
            features,
            news: match features.has(Features::ASYNC_EVENTS) {
                true => EventCount::new(msg.news.get()),
                false => EventCount::NONE,
            },
        })
    }

    /// The message to send.
    pub fn encode(&self) -> [u8; SESS_INFO_RSP_SIZE] {
        encode(TYPE_SESS_INFO_RSP, self.ver, self.features, self.news)
    }

    /// How the news of the session stands, if the server tells any.
    pub fn event_count(&self) -> Option<EventCount> {
        self.features
            .has(Features::ASYNC_EVENTS)
            .then_some(self.news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // Everything behind the version is reserved in C.
        assert_layout!(WireSessInfo, 36, {
            header: 0, ver: 4, reserved1: 5, magic: 8, features: 12, news: 16, reserved2: 20,
        });
    }
}
