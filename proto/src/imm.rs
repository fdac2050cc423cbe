// SPDX-License-Identifier: GPL-2.0-only

//! The immediate: 32 bits that travel with an RDMA write or send.
//!
//! The upper 4 bits are the type, the other 28 the payload. Values here are in host order; on
//! the wire an immediate is big endian (`ib_wc::ex.imm_data`).
//!
//! C header: [`drivers/infiniband/ulp/rtrs/rtrs-pri.h`](srctree/drivers/infiniband/ulp/rtrs/rtrs-pri.h).
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::imm::Imm;
//! use rnbd_proto::imm::IoReqLayout;
//! use rnbd_proto::limits::QueueDepth;
//!
//! // 512 chunks of 128 KiB; the RTRS message of a request is at offset 4096 of chunk 7.
//! let depth = QueueDepth::new(512)?;
//! let layout = IoReqLayout::new(depth, 128 * 1024)?;
//! let id = depth.buffer(7).expect("below the depth");
//! let raw = layout.encode(id, 4096)?.encode();
//!
//! let Imm::IoReq(payload) = Imm::decode(raw)? else {
//!     panic!("a request");
//! };
//! assert_eq!(layout.decode(payload)?, (id, 4096));
//! # Ok::<(), rnbd_proto::error::WireError>(())
//! ```

use core::num::NonZeroU32;

use crate::{
    async_event::EventCount,
    error::{
        WireError,
        EINVAL, //
    },
    limits::{
        bits_below,
        BufId,
        QueueDepth, //
    }, //
};

/// Number of bits of the payload.
pub(crate) const PAYLOAD_BITS: u32 = 28;
const PAYLOAD_MASK: u32 = (1 << PAYLOAD_BITS) - 1;

/// Number of bits of the message id in a response; the 9 bits above are the error number.
const RESPONSE_ID_BITS: u32 = 19;
const RESPONSE_ID_MASK: u32 = (1 << RESPONSE_ID_BITS) - 1;
/// Largest error number that a response can carry and a program may see.
pub(crate) const MAX_ERRNO: i32 = 0x1ff;

/// Returns `errno` if it is from 1 to [`MAX_ERRNO`], otherwise `EINVAL`.
///
/// So a failure cannot turn into a success on the wire, nor into a kernel-internal number, for
/// which a system call that returned it could be restarted.
#[inline]
pub(crate) const fn sanitize_errno(errno: i32) -> i32 {
    match errno {
        1..=MAX_ERRNO => errno,
        _ => EINVAL,
    }
}

/// Size in bytes of an inline immediate: one at the beginning of a message, between devices
/// without immediates, in the byte order of an immediate on the wire.
pub const INLINE_IMM_SIZE: usize = 4;

/// Splits a message that begins with an inline immediate into the immediate (host order) and
/// the bytes after it.
#[inline]
pub fn split_inline_imm(message: &[u8]) -> Option<(u32, &[u8])> {
    let (imm, rest) = message.split_first_chunk::<INLINE_IMM_SIZE>()?;
    Some((u32::from_be_bytes(*imm), rest))
}

const TYPE_IO_REQ: u32 = 0;
const TYPE_IO_RSP: u32 = 1;
const TYPE_IO_RSP_INVALIDATED: u32 = 2;
const TYPE_HEARTBEAT: u32 = 8;
const TYPE_HEARTBEAT_ACK: u32 = 9;

/// A decoded immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imm {
    /// Client to server: a chunk contains a request, see [`IoReqLayout::decode`].
    IoReq(IoReqPayload),
    /// Server to client: a request has completed.
    IoRsp(IoRsp),
    /// Both directions, first connection only: a heartbeat. The server sends its count of
    /// events, if the client listens; otherwise the count is [`EventCount::NONE`] and ignored.
    Heartbeat(EventCount),
    /// Both directions, first connection only: the acknowledgement of a heartbeat.
    HeartbeatAck,
}

/// The location of a request, to be decoded with the layout of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoReqPayload(u32);

/// A server's response to a request.
///
/// # Invariants
///
/// `id` takes at most 19 bits, `errno` is between 0 and [`MAX_ERRNO`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoRsp {
    id: u32,
    errno: u16,
    invalidated: bool,
}

impl IoRsp {
    /// Creates the response to the request with this `id`.
    ///
    /// `errno` is positive, 0 for success. A number that does not fit becomes `EINVAL`.
    /// `invalidated` is whether the server has invalidated the client's key.
    #[inline]
    pub const fn new(id: BufId, errno: i32, invalidated: bool) -> Self {
        let errno = match errno {
            0 => 0,
            _ => sanitize_errno(errno),
        };
        // INVARIANT: An id has 16 bits; `errno` was bounded above.
        Self {
            id: id.get() as u32,
            errno: errno as u16,
            invalidated,
        }
    }

    /// Returns the id of the request, if it is below `depth`.
    #[inline]
    pub const fn id(self, depth: QueueDepth) -> Result<BufId, WireError> {
        match depth.buffer(self.id) {
            Some(id) => Ok(id),
            None => Err(WireError::MessageId(self.id)),
        }
    }

    /// Returns the error number of the request: positive, 0 for success.
    #[inline]
    pub const fn errno(self) -> i32 {
        self.errno as i32
    }

    /// Returns whether the server has invalidated the client's key.
    #[inline]
    pub const fn invalidated(self) -> bool {
        self.invalidated
    }
}

impl Imm {
    /// Decodes an immediate (host order).
    #[inline]
    pub const fn decode(raw: u32) -> Result<Self, WireError> {
        let payload = raw & PAYLOAD_MASK;
        let kind = raw >> PAYLOAD_BITS;

        match kind {
            TYPE_IO_REQ => Ok(Self::IoReq(IoReqPayload(payload))),
            // INVARIANT: 28 bits less the 19 of the id leave 9 for `errno`.
            TYPE_IO_RSP | TYPE_IO_RSP_INVALIDATED => Ok(Self::IoRsp(IoRsp {
                id: payload & RESPONSE_ID_MASK,
                errno: (payload >> RESPONSE_ID_BITS) as u16,
                invalidated: kind == TYPE_IO_RSP_INVALIDATED,
            })),
            TYPE_HEARTBEAT => Ok(Self::Heartbeat(EventCount::new(payload))),
            TYPE_HEARTBEAT_ACK => Ok(Self::HeartbeatAck),
            _ => Err(WireError::ImmType(kind)),
        }
    }

    /// Encodes the immediate (host order).
    #[inline]
    pub const fn encode(self) -> u32 {
        let (kind, payload) = match self {
            Self::IoReq(payload) => (TYPE_IO_REQ, payload.0),
            Self::IoRsp(rsp) => (
                if rsp.invalidated {
                    TYPE_IO_RSP_INVALIDATED
                } else {
                    TYPE_IO_RSP
                },
                ((rsp.errno as u32) << RESPONSE_ID_BITS) | rsp.id,
            ),
            Self::Heartbeat(count) => (TYPE_HEARTBEAT, count.get()),
            Self::HeartbeatAck => (TYPE_HEARTBEAT_ACK, 0),
        };
        (kind << PAYLOAD_BITS) | payload
    }
}

/// Layout of the payload of a request's immediate: the id of a chunk in the upper bits, the
/// offset of the RTRS message in that chunk in the lower bits.
///
/// The id has as many bits as the queue depth needs, the offset has the rest.
///
/// # Invariants
///
/// - Ids and offsets below `chunk_size` fit into [`PAYLOAD_BITS`] together.
/// - `offset_bits` is the number of bits that the ids leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoReqLayout {
    depth: QueueDepth,
    chunk_size: NonZeroU32,
    offset_bits: u32,
}

impl IoReqLayout {
    /// Creates the layout of a session with chunks of `chunk_size` bytes.
    #[inline]
    pub const fn new(depth: QueueDepth, chunk_size: u32) -> Result<Self, WireError> {
        let id = depth.bits();
        let offset = bits_below(chunk_size);
        let Some(chunk_size) = NonZeroU32::new(chunk_size) else {
            return Err(WireError::ChunkSize(chunk_size));
        };

        if id.saturating_add(offset) > PAYLOAD_BITS {
            return Err(WireError::ImmBits { id, offset });
        }
        // INVARIANT: Checked just above. An id has at most 16 bits.
        Ok(Self {
            depth,
            chunk_size,
            offset_bits: PAYLOAD_BITS.saturating_sub(id),
        })
    }

    /// Returns the depth of the queue.
    pub const fn queue_depth(self) -> QueueDepth {
        self.depth
    }

    /// Returns the size of a chunk in bytes.
    #[inline]
    pub const fn chunk_size(self) -> u32 {
        self.chunk_size.get()
    }

    /// Returns the size of a chunk in bytes, as a divisor.
    pub(crate) const fn chunk_size_nonzero(self) -> NonZeroU32 {
        self.chunk_size
    }

    /// Encodes the location of a request: chunk `id`, RTRS message at `offset`.
    #[inline]
    pub const fn encode(self, id: BufId, offset: u32) -> Result<Imm, WireError> {
        // The id may be one of another queue.
        if self.depth.buffer(id.get() as u32).is_none() {
            return Err(WireError::MessageId(id.get() as u32));
        }
        if offset >= self.chunk_size.get() {
            return Err(WireError::Offset(offset));
        }
        let payload = (id.get() as u32).wrapping_shl(self.offset_bits) | offset;
        Ok(Imm::IoReq(IoReqPayload(payload)))
    }

    /// Decodes the id of the chunk and the offset of the RTRS message in it.
    #[inline]
    pub const fn decode(self, payload: IoReqPayload) -> Result<(BufId, u32), WireError> {
        let raw = payload.0.wrapping_shr(self.offset_bits);
        let offset = payload.0 & 1_u32.wrapping_shl(self.offset_bits).wrapping_sub(1);

        let Some(id) = self.depth.buffer(raw) else {
            return Err(WireError::MessageId(raw));
        };
        if offset >= self.chunk_size.get() {
            return Err(WireError::Offset(offset));
        }
        Ok((id, offset))
    }
}
