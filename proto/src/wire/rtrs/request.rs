// SPDX-License-Identifier: GPL-2.0-only

//! READ and WRITE: a request in one of the server's chunks.
//!
//! A chunk contains, from its start: the data (or, for a READ, space for it), the user message
//! and the RTRS message. The immediate has the offset of the RTRS message, whose `usr_len` is
//! the length of the user message before it:
//!
//! ```text
//! 0             offset - usr_len     offset
//! | data        | user message       | RTRS message | unused ...
//! ```
//!
//! Unless the chunk's key was invalidated first, a client can write to a chunk while the server
//! reads it. So [`RequestMsg::parse`] takes a copy of the RTRS message, and the caller must also
//! copy the user message before it parses that.

use core::ops::Range;

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

use super::{
    SgDesc,
    WireDesc,
    TYPE_READ,
    TYPE_WRITE, //
};

const NEED_INVALIDATE: u16 = 1 << 0;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireWrite {
    kind: U16,
    usr_len: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireRead {
    kind: U16,
    usr_len: U16,
    flags: U16,
    sg_cnt: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireReadWithDesc {
    read: WireRead,
    desc: WireDesc,
}

/// Size of a WRITE in bytes.
const WRITE_MSG_SIZE: usize = size_of::<WireWrite>();
/// Size of the longest request, a READ with its descriptor, in bytes.
pub const MAX_REQUEST_MSG_SIZE: usize = size_of::<WireReadWithDesc>();

/// Direction of the data of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataTransfer {
    /// WRITE: the data, if any, is in the chunk.
    ToServer,
    /// READ without a descriptor: no data.
    None,
    /// Eager READ without a descriptor: the data come with the response, in a message.
    InResponse {
        /// Bytes of the data.
        len: u32,
    },
    /// READ: the server writes the data to the client's buffer.
    ToClient {
        /// The client's buffer.
        desc: SgDesc,
        /// Whether the server must invalidate the key of the buffer.
        invalidate: bool,
    },
}

impl DataTransfer {
    /// Returns whether the client gets data.
    #[inline]
    pub const fn is_to_client(self) -> bool {
        match self {
            Self::ToServer | Self::None => false,
            Self::InResponse { .. } | Self::ToClient { .. } => true,
        }
    }

    /// Returns the number of bytes of data that the client gets.
    #[inline]
    pub const fn len_to_client(self) -> u32 {
        match self {
            Self::ToServer | Self::None => 0,
            Self::InResponse { len } => len,
            Self::ToClient { desc, .. } => desc.len(),
        }
    }
}

/// The variants of [`DataTransfer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferKind {
    ToServer,
    None,
    InResponse,
    ToClient,
}

/// A request, in a chunk or [eager](super::eager).
///
/// It has the values of its [`DataTransfer`] as fields, which take fewer instructions to copy and to
/// compare.
///
/// # Invariants
///
/// - `usr_len <= offset`, and the client gets no more data than there is space for in the chunk.
/// - `addr`, `key` and `len` are those of an [`SgDesc`] if `kind` is `ToClient`. Of other kinds,
///   what they do not have is 0 or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMsg {
    offset: u32,
    usr_len: u16,
    kind: TransferKind,
    /// Whether the server must invalidate `key`.
    invalidate: bool,
    addr: u64,
    key: u32,
    /// Bytes of data that the client gets.
    len: u32,
}

impl RequestMsg {
    /// A request without data and message.
    // INVARIANT: All is 0, and there is no buffer.
    pub const EMPTY: Self = Self {
        offset: 0,
        usr_len: 0,
        kind: TransferKind::None,
        invalidate: false,
        addr: 0,
        key: 0,
        len: 0,
    };

    /// Creates a request with `data_len` bytes of data and `usr_len` bytes of user message.
    #[inline]
    pub const fn new(
        data_len: u32,
        usr_len: u16,
        transfer: DataTransfer,
    ) -> Result<Self, WireError> {
        let Some(offset) = data_len.checked_add(usr_len as u32) else {
            return Err(WireError::Offset(data_len));
        };
        Self::at(offset, usr_len, transfer)
    }

    #[inline]
    const fn at(offset: u32, usr_len: u16, transfer: DataTransfer) -> Result<Self, WireError> {
        let Some(data_len) = offset.checked_sub(usr_len as u32) else {
            return Err(WireError::UserLength {
                len: usr_len,
                offset,
            });
        };
        let len = transfer.len_to_client();
        if len > data_len {
            return Err(WireError::DescriptorLength(len));
        }
        // INVARIANT: Both checked just above.
        let (kind, invalidate, addr, key) = match transfer {
            DataTransfer::ToServer => (TransferKind::ToServer, false, 0, 0),
            DataTransfer::None => (TransferKind::None, false, 0, 0),
            DataTransfer::InResponse { .. } => (TransferKind::InResponse, false, 0, 0),
            DataTransfer::ToClient { desc, invalidate } => {
                (TransferKind::ToClient, invalidate, desc.addr, desc.key)
            }
        };
        Ok(Self {
            offset,
            usr_len,
            kind,
            invalidate,
            addr,
            key,
            len,
        })
    }

    /// Parses the RTRS message at `offset` of a chunk.
    ///
    /// `message` is a copy of the bytes in [`Self::message_range`].
    #[inline]
    pub fn parse(message: &[u8], offset: u32) -> Result<Self, WireError> {
        let msg: WireWrite = wire::read(message)?;
        let transfer = match msg.kind.get() {
            TYPE_WRITE => DataTransfer::ToServer,
            TYPE_READ => Self::parse_read(message)?,
            kind => return Err(WireError::MessageType(kind)),
        };
        Self::at(offset, msg.usr_len.get(), transfer)
    }

    /// Parses what a READ has more than a WRITE.
    #[inline]
    fn parse_read(message: &[u8]) -> Result<DataTransfer, WireError> {
        let msg: WireRead = wire::read(message)?;
        let flags = msg.flags.get();
        let unknown = flags & !NEED_INVALIDATE;
        if unknown != 0 {
            return Err(WireError::Flags(u32::from(unknown)));
        }
        match msg.sg_cnt.get() {
            0 => Ok(DataTransfer::None),
            1 => {
                let msg: WireReadWithDesc = wire::read(message)?;
                Ok(DataTransfer::ToClient {
                    desc: SgDesc::try_from(&msg.desc)?,
                    invalidate: flags & NEED_INVALIDATE != 0,
                })
            }
            n => Err(WireError::DescriptorCount(n)),
        }
    }

    /// Returns the same request, whose data, for which it has no descriptor, come with the response.
    #[inline]
    pub(super) const fn with_data_in_response(self) -> Self {
        // INVARIANT: All the space for data, and no descriptor.
        Self {
            kind: TransferKind::InResponse,
            len: self.data_len(),
            invalidate: false,
            addr: 0,
            key: 0,
            ..self
        }
    }

    /// Returns the bytes of a chunk of `chunk_size` bytes that an RTRS message at `offset` can
    /// occupy: at most [`MAX_REQUEST_MSG_SIZE`], fewer at the end of the chunk.
    #[inline]
    pub fn message_range(offset: u32, chunk_size: u32) -> Result<Range<usize>, WireError> {
        let start = offset as usize;
        let end = start
            .saturating_add(MAX_REQUEST_MSG_SIZE)
            .min(chunk_size as usize);
        if end.saturating_sub(start) < WRITE_MSG_SIZE {
            return Err(WireError::Offset(offset));
        }
        Ok(start..end)
    }

    /// Writes the RTRS message to `buf`, which starts after the user message, and returns its
    /// length.
    #[inline]
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        let read = |flags: u16, sg_cnt: u16| WireRead {
            kind: TYPE_READ.into(),
            usr_len: self.usr_len.into(),
            flags: flags.into(),
            sg_cnt: sg_cnt.into(),
        };
        match self.transfer() {
            DataTransfer::ToServer => {
                let msg = WireWrite {
                    kind: TYPE_WRITE.into(),
                    usr_len: self.usr_len.into(),
                };
                wire::write(&msg, buf)
            }
            DataTransfer::None | DataTransfer::InResponse { .. } => wire::write(&read(0, 0), buf),
            DataTransfer::ToClient { desc, invalidate } => {
                let flags = if invalidate { NEED_INVALIDATE } else { 0 };
                let msg = WireReadWithDesc {
                    read: read(flags, 1),
                    desc: desc.into(),
                };
                wire::write(&msg, buf)
            }
        }
    }

    /// Returns the offset of the RTRS message, to be sent in the immediate.
    #[inline]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Returns the length of the data, or of the space for it, in bytes.
    #[inline]
    pub const fn data_len(&self) -> u32 {
        // No underflow by the type invariant.
        self.offset.saturating_sub(self.usr_len as u32)
    }

    /// Returns the number of bytes of data that go to the server.
    #[inline]
    pub const fn len_to_server(&self) -> u32 {
        match self.kind {
            TransferKind::ToServer => self.data_len(),
            _ => 0,
        }
    }

    /// Returns the number of bytes of data that the client gets.
    #[inline]
    pub const fn len_to_client(&self) -> u32 {
        self.len
    }

    /// Returns the key of the client's buffer, if the server must invalidate it.
    #[inline]
    pub const fn key_to_invalidate(&self) -> Option<u32> {
        match self.invalidate {
            true => Some(self.key),
            false => None,
        }
    }

    /// Returns the bytes of the chunk that contain the user message.
    #[inline]
    pub const fn user_range(&self) -> Range<usize> {
        self.data_len() as usize..self.offset as usize
    }

    /// Returns the length of the user message in bytes.
    #[inline]
    pub const fn user_len(&self) -> usize {
        self.usr_len as usize
    }

    /// Returns the same as it is on the wire.
    #[inline]
    pub(super) const fn usr_len(&self) -> u16 {
        self.usr_len
    }

    /// Returns the direction of the data.
    #[inline]
    pub const fn transfer(&self) -> DataTransfer {
        match self.kind {
            TransferKind::ToServer => DataTransfer::ToServer,
            TransferKind::None => DataTransfer::None,
            TransferKind::InResponse => DataTransfer::InResponse { len: self.len },
            TransferKind::ToClient => DataTransfer::ToClient {
                // INVARIANT: By the one of this type.
                desc: SgDesc {
                    addr: self.addr,
                    key: self.key,
                    len: self.len,
                },
                invalidate: self.invalidate,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireWrite, 4, { kind: 0, usr_len: 2 });
        assert_layout!(WireRead, 8, { kind: 0, usr_len: 2, flags: 4, sg_cnt: 6 });
        assert_layout!(WireReadWithDesc, 24, { read: 0, desc: 8 });
    }
}
