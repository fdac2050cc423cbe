// SPDX-License-Identifier: GPL-2.0-only

//! Messages of the transport, RTRS.
//!
//! C header: [`drivers/infiniband/ulp/rtrs/rtrs-pri.h`](srctree/drivers/infiniband/ulp/rtrs/rtrs-pri.h).
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::wire::rtrs::DataTransfer;
//! use rnbd_proto::wire::rtrs::RequestMsg;
//! use rnbd_proto::wire::rtrs::MAX_REQUEST_MSG_SIZE;
//!
//! // A WRITE with 4096 bytes of data and a user message of 32 bytes.
//! let request = RequestMsg::new(4096, 32, DataTransfer::ToServer)?;
//! let mut buf = [0; MAX_REQUEST_MSG_SIZE];
//! let len = request.encode(&mut buf)?;
//!
//! // The immediate carries the offset of the RTRS message.
//! let parsed = RequestMsg::parse(&buf[..len], request.offset())?;
//! assert_eq!(parsed, request);
//! assert_eq!(parsed.user_range(), 4096..4128);
//! # Ok::<(), rnbd_proto::error::WireError>(())
//! ```

pub mod eager;

mod conn;
mod conn_rsp;
mod info;
mod request;
mod rkey;

use zerocopy::little_endian::{
    U32,
    U64, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::error::WireError;

pub use self::{
    conn::{
        ConnReq,
        Uuid,
        CONN_MSG_SIZE, //
    },
    conn_rsp::{
        ConnAccept,
        ConnRsp,
        NextKey, //
    },
    info::{
        info_rsp_size,
        InfoAuth,
        InfoReq,
        InfoRsp,
        RemoteChunk,
        AUTH_INFO_REQ_SIZE,
        INFO_REQ_SIZE, //
    },
    request::{
        DataTransfer,
        RequestMsg,
        MAX_REQUEST_MSG_SIZE, //
    },
    rkey::{
        next_key,
        RkeyRsp,
        RKEY_RSP_SIZE, //
    }, //
};

/// Magic number in the private data of a connect.
const MAGIC: u16 = 0x1bbd;
/// Major version, which must be the same on both sides.
const VERSION_MAJOR: u8 = 2;
/// Minor version.
const VERSION_MINOR: u8 = 0;
const VERSION: u16 = u16::from_be_bytes([VERSION_MAJOR, VERSION_MINOR]);

/// Type of an INFO_REQ.
const TYPE_INFO_REQ: u16 = 0;
/// Type of an INFO_RSP.
const TYPE_INFO_RSP: u16 = 1;
/// Type of a WRITE.
const TYPE_WRITE: u16 = 2;
/// Type of a READ.
const TYPE_READ: u16 = 3;
/// Type of an RKEY_RSP.
const TYPE_RKEY_RSP: u16 = 4;

const fn check_version(version: u16) -> Result<(), WireError> {
    if version >> 8 == VERSION_MAJOR as u16 {
        Ok(())
    } else {
        Err(WireError::Version(version))
    }
}

/// A buffer descriptor as it is on the wire.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireDesc {
    addr: U64,
    key: U32,
    len: U32,
}

/// A buffer of the peer that is accessible by RDMA.
///
/// # Invariants
///
/// `len` is not 0 and `addr + len` does not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SgDesc {
    addr: u64,
    key: u32,
    len: u32,
}

impl SgDesc {
    /// Describes `len` bytes at `addr`, accessible with `key`.
    #[inline]
    pub const fn new(addr: u64, key: u32, len: u32) -> Result<Self, WireError> {
        if len == 0 {
            return Err(WireError::DescriptorLength(len));
        }
        if addr.checked_add(len as u64).is_none() {
            return Err(WireError::DescriptorRange);
        }
        // INVARIANT: Both checked just above.
        Ok(Self { addr, key, len })
    }

    /// Returns the address in the peer's address space.
    #[inline]
    pub const fn addr(self) -> u64 {
        self.addr
    }

    /// Returns the remote key of the buffer.
    #[inline]
    pub const fn key(self) -> u32 {
        self.key
    }

    /// Returns the length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(self) -> u32 {
        self.len
    }
}

impl From<SgDesc> for WireDesc {
    #[inline]
    fn from(desc: SgDesc) -> Self {
        Self {
            addr: desc.addr.into(),
            key: desc.key.into(),
            len: desc.len.into(),
        }
    }
}

impl TryFrom<&WireDesc> for SgDesc {
    type Error = WireError;

    #[inline]
    fn try_from(desc: &WireDesc) -> Result<Self, WireError> {
        Self::new(desc.addr.get(), desc.key.get(), desc.len.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireDesc, 16, { addr: 0, key: 8, len: 12 });
    }
}
