// SPDX-License-Identifier: GPL-2.0-only

//! Messages of the block protocol, RNBD. They are user messages of RTRS; responses are returned
//! as the data of a READ.
//!
//! C header: [`drivers/block/rnbd/rnbd-proto.h`](srctree/drivers/block/rnbd/rnbd-proto.h).
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::error::WireError;
//! use rnbd_proto::wire::rnbd::BlockOp;
//! use rnbd_proto::wire::rnbd::DeviceId;
//! use rnbd_proto::wire::rnbd::IoFlags;
//! use rnbd_proto::wire::rnbd::IoMsg;
//! use rnbd_proto::wire::rnbd::Message;
//!
//! // Write 4096 bytes at sector 8 of device 1, with FUA and without a priority.
//! let io = IoMsg::new(DeviceId(1), BlockOp::Write, IoFlags::FUA, 8, 4096, 0)?;
//! let bytes = io.encode();
//! assert_eq!(Message::parse(&bytes), Ok(Message::Io(io)));
//!
//! let refused = Message::parse(&bytes[..20]);
//! assert_eq!(refused, Err(WireError::Short { need: 24, got: 20 }));
//! # Ok::<(), WireError>(())
//! ```

mod describe;
mod device;
mod io;
mod op;
mod open;
mod session;

use core::fmt;

use zerocopy::little_endian::U16;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    error::WireError,
    wire, //
};

pub use self::{
    describe::{
        AtomicWrites,
        DescribeMsg,
        DescribeRsp,
        Description,
        DeviceFlags,
        DeviceIdentity,
        Generation,
        Identity,
        IdentityKind,
        Zones,
        DESCRIBE_RSP_SIZE,
        MAX_IDENTITY, //
    },
    device::{
        CloseMsg,
        DevInfo, //
    },
    io::IoMsg,
    op::{
        BlockOp,
        IoFlags, //
    },
    open::{
        Geometry,
        OpenMsg,
        OpenRsp,
        OPEN_RSP_SIZE, //
    },
    session::{
        Features,
        SessInfo,
        SessInfoRsp,
        SESS_INFO_RSP_SIZE, //
    }, //
};

/// Major version, exchanged when a session starts. (The minor one is never sent.)
const VERSION_MAJOR: u8 = 2;
/// Port (or the low bits of the service id) that servers listen on by default.
pub(crate) const DEFAULT_PORT: u16 = 1234;
/// Size of the longest message to a server in bytes.
pub const MAX_MSG_SIZE: usize = open::OPEN_SIZE;

const TYPE_SESS_INFO: u16 = 0;
const TYPE_SESS_INFO_RSP: u16 = 1;
const TYPE_OPEN: u16 = 2;
const TYPE_OPEN_RSP: u16 = 3;
const TYPE_IO: u16 = 4;
const TYPE_CLOSE: u16 = 5;
const TYPE_DEV_INFO: u16 = 6;
const TYPE_DESCRIBE: u16 = 7;
const TYPE_DESCRIBE_RSP: u16 = 8;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U16,
    padding: [u8; 2],
}

impl Header {
    const fn new(kind: u16) -> Self {
        Self {
            kind: U16::new(kind),
            padding: [0; 2],
        }
    }

    #[inline]
    fn expect(self, kind: u16) -> Result<(), WireError> {
        if self.kind.get() == kind {
            Ok(())
        } else {
            Err(WireError::MessageType(self.kind.get()))
        }
    }
}

/// Id of a device within its session, assigned by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a client opens a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Reading only; any number of clients.
    ReadOnly,
    /// Reading and writing; one client.
    ReadWrite,
    /// Reading and writing beside another client, while a virtual machine migrates.
    Migration,
}

impl AccessMode {
    /// Returns the mode as users read and write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
            Self::Migration => "migration",
        }
    }

    /// Parses a mode as users write it.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        [Self::ReadOnly, Self::ReadWrite, Self::Migration]
            .into_iter()
            .find(|mode| mode.as_str().as_bytes() == text)
    }

    /// Returns whether the mode allows changes of the device.
    #[inline]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::ReadOnly)
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::ReadOnly => 0,
            Self::ReadWrite => 1,
            Self::Migration => 2,
        }
    }

    const fn from_wire(raw: u8) -> Result<Self, WireError> {
        match raw {
            0 => Ok(Self::ReadOnly),
            1 => Ok(Self::ReadWrite),
            2 => Ok(Self::Migration),
            _ => Err(WireError::AccessMode(raw)),
        }
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message from a client to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Starts a session with a version.
    SessInfo(SessInfo),
    /// Opens a device.
    Open(OpenMsg<'a>),
    /// Closes a device.
    Close(CloseMsg),
    /// A block request.
    Io(IoMsg),
    /// Queries the present size of a device.
    DevInfo(DevInfo),
    /// Queries the present description of a device.
    Describe(DescribeMsg),
}

impl<'a> Message<'a> {
    /// Parses a user message. `bytes` must be a copy that the peer cannot change.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let header: Header = wire::read(bytes)?;

        match header.kind.get() {
            TYPE_IO => IoMsg::parse(bytes).map(Self::Io),
            kind => Self::parse_control(kind, bytes),
        }
    }

    /// Parses a message that is not a block request, of type `kind`.
    fn parse_control(kind: u16, bytes: &'a [u8]) -> Result<Self, WireError> {
        match kind {
            TYPE_OPEN => OpenMsg::parse(bytes).map(Self::Open),
            TYPE_CLOSE => CloseMsg::parse(bytes).map(Self::Close),
            TYPE_SESS_INFO => SessInfo::parse(bytes).map(Self::SessInfo),
            TYPE_DEV_INFO => DevInfo::parse(bytes).map(Self::DevInfo),
            TYPE_DESCRIBE => DescribeMsg::parse(bytes).map(Self::Describe),
            kind => Err(WireError::MessageType(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(Header, 4, { kind: 0, padding: 2 });
    }
}
