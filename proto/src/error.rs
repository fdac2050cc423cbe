// SPDX-License-Identifier: GPL-2.0-only

//! Error numbers, and why a message was refused.

use core::fmt;

/// Operation not permitted.
pub const EPERM: i32 = 1;
/// No such file or directory.
pub const ENOENT: i32 = 2;
/// Input/output error.
pub const EIO: i32 = 5;
/// No such device or address.
pub const ENXIO: i32 = 6;
/// Out of memory.
pub(crate) const ENOMEM: i32 = 12;
/// Permission denied.
pub const EACCES: i32 = 13;
/// No such device.
pub(crate) const ENODEV: i32 = 19;
/// Invalid argument.
pub const EINVAL: i32 = 22;
/// No space left on device.
pub(crate) const ENOSPC: i32 = 28;
/// Read-only file system.
pub(crate) const EROFS: i32 = 30;
/// Result not representable: a number that is too large.
pub const ERANGE: i32 = 34;
/// Protocol error.
pub(crate) const EPROTO: i32 = 71;
/// Name not unique on network.
pub(crate) const ENOTUNIQ: i32 = 76;
/// Message too long.
pub const EMSGSIZE: i32 = 90;
/// The protocol, here the family of an address, is not supported.
pub(crate) const EPROTONOSUPPORT: i32 = 93;
/// Operation not supported.
pub(crate) const EOPNOTSUPP: i32 = 95;
/// Software caused connection abort.
pub(crate) const ECONNABORTED: i32 = 103;
/// Connection reset by peer.
pub(crate) const ECONNRESET: i32 = 104;
/// No buffer space available.
pub(crate) const ENOBUFS: i32 = 105;
/// Transport endpoint is not connected.
pub(crate) const ENOTCONN: i32 = 107;
/// Connection timed out.
pub(crate) const ETIMEDOUT: i32 = 110;
/// Connection refused.
pub(crate) const ECONNREFUSED: i32 = 111;
/// Stale handle, here: connection.
pub const ESTALE: i32 = 116;
/// No medium found.
pub(crate) const ENOMEDIUM: i32 = 123;
/// Wrong medium type.
pub(crate) const EMEDIUMTYPE: i32 = 124;
/// A signal interrupted a wait in the kernel.
pub(crate) const ERESTARTSYS: i32 = 512;

/// A message, immediate or field that breaks the protocol.
///
/// The text of [`fmt::Display`] is meant for one line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes arrived than the message has.
    Short {
        /// Bytes the message takes.
        need: usize,
        /// Bytes that arrived.
        got: usize,
    },
    /// More bytes arrived than the message has.
    Long {
        /// Bytes of the message.
        need: usize,
        /// Bytes that arrived.
        got: usize,
    },
    /// The buffer to encode into is too small.
    NoRoom {
        /// Bytes the message takes.
        need: usize,
        /// Bytes of the buffer.
        got: usize,
    },
    /// Not the magic number of RTRS.
    Magic(u16),
    /// A major protocol version that is not supported.
    Version(u16),
    /// A message type that is unknown or out of place.
    MessageType(u16),
    /// An immediate type that is unknown or out of place.
    ImmType(u32),
    /// A message id that this session does not have.
    MessageId(u32),
    /// A path with no connections, or with more than allowed.
    ConnectionCount(u16),
    /// A connection id that is not below the number of connections.
    ConnectionId(u16),
    /// Queue depth outside of 1..=65535.
    QueueDepth(u32),
    /// Chunk size (in bytes) outside of the accepted range.
    ChunkSize(u32),
    /// Space for headers (in bytes) outside of the accepted range.
    HeaderSize(u32),
    /// Largest I/O (in bytes) outside of the accepted range.
    IoSize(u32),
    /// Message id and offset do not fit into one immediate together.
    ImmBits {
        /// Bits taken by the ids.
        id: u32,
        /// Bits taken by offsets within a chunk.
        offset: u32,
    },
    /// An offset at which the message does not fit into the chunk.
    Offset(u32),
    /// A user message that would begin before its chunk.
    UserLength {
        /// Length of the user message in bytes.
        len: u16,
        /// Offset of the RTRS message in bytes.
        offset: u32,
    },
    /// An unexpected number of buffer descriptors.
    DescriptorCount(u16),
    /// A buffer descriptor of an impossible length.
    DescriptorLength(u32),
    /// A buffer that wraps around the address space.
    DescriptorRange,
    /// Unknown flag bits.
    Flags(u32),
    /// A name that is empty, not terminated, or contains a forbidden byte.
    Name,
    /// Unknown access mode.
    AccessMode(u8),
    /// Unknown block operation.
    Operation(u8),
    /// A range of sectors that is not whole or ends beyond 2^64 bytes.
    SectorRange,
    /// Impossible block sizes, or an impossible size, of a device.
    Geometry,
}

impl WireError {
    /// Returns the error number (positive) for the response.
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoRoom { .. } => EMSGSIZE,
            _ => EINVAL,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { need, got } | Self::Long { need, got } => {
                write!(f, "message of {got} bytes, expected {need}")
            }
            Self::NoRoom { need, got } => write!(f, "buffer of {got} bytes, {need} needed"),
            Self::Magic(v) => write!(f, "bad magic {v:#06x}"),
            Self::Version(v) => write!(f, "unsupported version {}.{}", v >> 8, v & 0xff),
            Self::MessageType(v) => write!(f, "unexpected message type {v}"),
            Self::ImmType(v) => write!(f, "unexpected immediate type {v}"),
            Self::MessageId(v) => write!(f, "message id {v} out of range"),
            Self::ConnectionCount(v) => write!(f, "bad number of connections {v}"),
            Self::ConnectionId(v) => write!(f, "connection id {v} out of range"),
            Self::QueueDepth(v) => write!(f, "queue depth {v} out of range"),
            Self::ChunkSize(v) => write!(f, "chunk size {v} out of range"),
            Self::HeaderSize(v) => write!(f, "header size {v} out of range"),
            Self::IoSize(v) => write!(f, "maximum I/O size {v} out of range"),
            Self::ImmBits { id, offset } => write!(
                f,
                "{id} bits of message id and {offset} bits of offset exceed the immediate"
            ),
            Self::Offset(v) => write!(f, "message offset {v} out of range"),
            Self::UserLength { len, offset } => {
                write!(f, "user message of {len} bytes before offset {offset}")
            }
            Self::DescriptorCount(v) => write!(f, "unexpected number of descriptors {v}"),
            Self::DescriptorLength(v) => write!(f, "descriptor length {v} out of range"),
            Self::DescriptorRange => f.write_str("descriptor wraps around the address space"),
            Self::Flags(v) => write!(f, "unknown flags {v:#x}"),
            Self::Name => f.write_str("malformed name"),
            Self::AccessMode(v) => write!(f, "unknown access mode {v}"),
            Self::Operation(v) => write!(f, "unknown operation {v}"),
            Self::SectorRange => f.write_str("malformed range of sectors"),
            Self::Geometry => f.write_str("impossible device geometry"),
        }
    }
}
