// SPDX-License-Identifier: GPL-2.0-only

//! Private data of connect, accept and reject.

use zerocopy::little_endian::U16;
use zerocopy::little_endian::U32;
use zerocopy_derive::FromBytes;
use zerocopy_derive::Immutable;
use zerocopy_derive::IntoBytes;
use zerocopy_derive::KnownLayout;
use zerocopy_derive::Unaligned;

use super::check_version;
use super::MAGIC;
use super::VERSION;
use crate::error::WireError;
use crate::error::EINVAL;
use crate::imm::IoReqLayout;
use crate::limits::QueueDepth;
use crate::limits::ServerLimits;
use crate::limits::HEADER_SIZE;
use crate::limits::MAX_CONNECTIONS;
use crate::limits::MAX_HEADER_SIZE;
use crate::limits::MIN_HEADER_SIZE;
use crate::limits::MIN_IO_SIZE;
use crate::wire;

/// Length of the private data, both ways, in bytes.
pub const CONN_MSG_SIZE: usize = 56;

const FIRST_CONN: u8 = 1 << 0;
const NEW_RKEY: u32 = 1 << 1;

/// Identity of a path or of a session, drawn at random by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireConnReq {
    /// Zero: the connection manager writes here when the addresses are AF_IB.
    cma_version: u8,
    /// Zero: the connection manager would take anything else for an IP header.
    ip_version: u8,
    magic: U16,
    version: U16,
    cid: U16,
    cid_num: U16,
    recon_cnt: U16,
    sess_uuid: [u8; 16],
    paths_uuid: [u8; 16],
    flags: u8,
    reserved: [u8; 11],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireConnRsp {
    magic: U16,
    version: U16,
    errno: U16,
    queue_depth: U16,
    max_io_size: U32,
    max_hdr_size: U32,
    flags: U32,
    reserved: [u8; 36],
}

const _: () = assert!(size_of::<WireConnReq>() == CONN_MSG_SIZE);
const _: () = assert!(size_of::<WireConnRsp>() == CONN_MSG_SIZE);

/// A client's request for one connection of a path.
///
/// # Invariants
///
/// `id < count <= MAX_CONNECTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnReq {
    id: u16,
    count: u16,
    reconnects: u16,
    path: Uuid,
    session: Uuid,
    first: bool,
}

impl ConnReq {
    /// Connection `id` of `count` of the path `path` in session `session`.
    ///
    /// `reconnects` counts how often this path was connected before. `first`
    /// asks the server to create the session if it does not know it.
    pub const fn new(
        id: u16,
        count: u16,
        reconnects: u16,
        path: Uuid,
        session: Uuid,
        first: bool,
    ) -> Result<Self, WireError> {
        if count == 0 || count > MAX_CONNECTIONS {
            return Err(WireError::ConnectionCount(count));
        }
        if id >= count {
            return Err(WireError::ConnectionId(id));
        }
        // INVARIANT: Both checked just above.
        Ok(Self {
            id,
            count,
            reconnects,
            path,
            session,
            first,
        })
    }

    /// Reads the private data of a connect request.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireConnReq = wire::read(bytes)?;

        if msg.magic.get() != MAGIC {
            return Err(WireError::Magic(msg.magic.get()));
        }
        check_version(msg.version.get())?;
        Self::new(
            msg.cid.get(),
            msg.cid_num.get(),
            msg.recon_cnt.get(),
            Uuid(msg.sess_uuid),
            Uuid(msg.paths_uuid),
            msg.flags & FIRST_CONN != 0,
        )
    }

    /// The private data to connect with.
    pub fn encode(&self) -> [u8; CONN_MSG_SIZE] {
        zerocopy::transmute!(WireConnReq {
            cma_version: 0,
            ip_version: 0,
            magic: MAGIC.into(),
            version: VERSION.into(),
            cid: self.id.into(),
            cid_num: self.count.into(),
            recon_cnt: self.reconnects.into(),
            sess_uuid: self.path.0,
            paths_uuid: self.session.0,
            flags: if self.first { FIRST_CONN } else { 0 },
            reserved: [0; 11],
        })
    }

    /// Id of the connection within its path; 0 is the one for control.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Number of connections of the path.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// How often the client connected this path before.
    pub const fn reconnects(&self) -> u16 {
        self.reconnects
    }

    /// Identity of the path (`sess_uuid` in C).
    pub const fn path(&self) -> Uuid {
        self.path
    }

    /// Identity of the session, shared by its paths (`paths_uuid` in C).
    pub const fn session(&self) -> Uuid {
        self.session
    }

    /// Whether the server may create the session.
    pub const fn first(&self) -> bool {
        self.first
    }
}

/// What an accepting server has to offer.
///
/// # Invariants
///
/// `max_io_size` and `header_size` are within [`crate::limits`] and their sum is
/// the chunk size of `layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    layout: IoReqLayout,
    max_io_size: u32,
    header_size: u32,
    new_rkey: bool,
}

impl Accept {
    /// The offer of a server of our own.
    ///
    /// `new_rkey` says that every answer carries a fresh key (`always_invalidate`).
    pub const fn from_limits(limits: ServerLimits, new_rkey: bool) -> Result<Self, WireError> {
        Self::new(
            limits.queue_depth(),
            limits.max_io_size(),
            HEADER_SIZE,
            new_rkey,
        )
    }

    const fn new(
        depth: QueueDepth,
        max_io_size: u32,
        header_size: u32,
        new_rkey: bool,
    ) -> Result<Self, WireError> {
        if header_size < MIN_HEADER_SIZE || header_size > MAX_HEADER_SIZE {
            return Err(WireError::HeaderSize(header_size));
        }
        if max_io_size < MIN_IO_SIZE {
            return Err(WireError::IoSize(max_io_size));
        }
        let Some(chunk_size) = max_io_size.checked_add(header_size) else {
            return Err(WireError::IoSize(max_io_size));
        };
        match IoReqLayout::new(depth, chunk_size) {
            // INVARIANT: All checked just above.
            Ok(layout) => Ok(Self {
                layout,
                max_io_size,
                header_size,
                new_rkey,
            }),
            Err(e) => Err(e),
        }
    }

    /// How requests are addressed in this session.
    pub const fn layout(&self) -> IoReqLayout {
        self.layout
    }

    /// Depth of the queue.
    pub const fn queue_depth(&self) -> QueueDepth {
        self.layout.queue_depth()
    }

    /// Size of each of the server's chunks in bytes.
    pub const fn chunk_size(&self) -> u32 {
        self.layout.chunk_size()
    }

    /// Largest I/O in bytes.
    pub const fn max_io_size(&self) -> u32 {
        self.max_io_size
    }

    /// Room for user message and RTRS message in bytes.
    pub const fn header_size(&self) -> u32 {
        self.header_size
    }

    /// Whether every answer brings a new key for its chunk.
    pub const fn new_rkey(&self) -> bool {
        self.new_rkey
    }
}

/// A server's answer to a connect request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnRsp {
    /// Come in.
    Accept(Accept),
    /// No, for the reason of this error number (positive, never 0).
    Reject(i32),
}

impl ConnRsp {
    /// Reads the private data of an established or rejected connection.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireConnRsp = wire::read(bytes)?;

        if msg.magic.get() != MAGIC {
            return Err(WireError::Magic(msg.magic.get()));
        }
        check_version(msg.version.get())?;
        match msg.errno.get() {
            0 => {}
            // A negative error number in 16 bits.
            errno => return Ok(Self::Reject(i32::from(errno as i16).abs())),
        }
        Ok(Self::Accept(Accept::new(
            QueueDepth::new(u32::from(msg.queue_depth.get()))?,
            msg.max_io_size.get(),
            msg.max_hdr_size.get(),
            msg.flags.get() & NEW_RKEY != 0,
        )?))
    }

    /// The private data to accept or reject with.
    pub fn encode(&self) -> [u8; CONN_MSG_SIZE] {
        let mut msg = WireConnRsp {
            magic: MAGIC.into(),
            version: VERSION.into(),
            errno: 0.into(),
            queue_depth: 0.into(),
            max_io_size: 0.into(),
            max_hdr_size: 0.into(),
            flags: 0.into(),
            reserved: [0; 36],
        };
        match self {
            Self::Accept(accept) => {
                msg.queue_depth = accept.queue_depth().get().into();
                msg.max_io_size = accept.max_io_size.into();
                msg.max_hdr_size = accept.header_size.into();
                msg.flags = if accept.new_rkey { NEW_RKEY } else { 0 }.into();
            }
            Self::Reject(errno) => {
                // A reject must not read as an accept.
                let errno = i16::try_from(*errno).ok().filter(|&e| e > 0);
                let errno = errno.unwrap_or(EINVAL as i16);
                msg.errno = (errno.wrapping_neg() as u16).into();
            }
        }
        zerocopy::transmute!(msg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // A bit field, the first connection's mark, is in C between `paths_uuid`
        // and `reserved`.
        assert_layout!(WireConnReq, 56, {
            cma_version: 0, ip_version: 1, magic: 2, version: 4, cid: 6, cid_num: 8,
            recon_cnt: 10, sess_uuid: 12, paths_uuid: 28, flags: 44, reserved: 45,
        });
        assert_layout!(WireConnRsp, 56, {
            magic: 0, version: 2, errno: 4, queue_depth: 6, max_io_size: 8,
            max_hdr_size: 12, flags: 16, reserved: 20,
        });
    }
}
