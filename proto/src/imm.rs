// SPDX-License-Identifier: GPL-2.0-only

//! The immediate: 32 bits that travel with an RDMA write or send.
//!
//! 4 bits of type, then 28 bits of payload. Values here are in host order; on the
//! wire an immediate is big endian (`ib_wc::ex.imm_data`).
//!
//! C header: [`drivers/infiniband/ulp/rtrs/rtrs-pri.h`](srctree/drivers/infiniband/ulp/rtrs/rtrs-pri.h).

use core::num::NonZeroU32;

use crate::async_event::EventCount;
use crate::error::WireError;
use crate::error::EINVAL;
use crate::limits::bits_below;
use crate::limits::BufId;
use crate::limits::QueueDepth;

/// Bits of the payload.
pub(crate) const PAYLOAD_BITS: u32 = 28;
const PAYLOAD_MASK: u32 = (1 << PAYLOAD_BITS) - 1;

/// Bits of the message id in a response; 9 bits of error number are above them.
const RESPONSE_ID_BITS: u32 = 19;
const RESPONSE_ID_MASK: u32 = (1 << RESPONSE_ID_BITS) - 1;
/// Largest error number that a response can carry, and that a program may be told of.
pub(crate) const MAX_ERRNO: i32 = 0x1ff;

/// Why something failed, as a peer and a program may be told: `errno`, if that is from 1 to
/// [`MAX_ERRNO`], otherwise `EINVAL`. So no failure turns into a success on its way, and
/// none into a number that a kernel keeps to itself, for which a system call that returned
/// it could be restarted.
pub(crate) const fn failure(errno: i32) -> i32 {
    match errno {
        1..=MAX_ERRNO => errno,
        _ => EINVAL,
    }
}

/// Bytes of a note: an immediate that travels at the beginning of a message, between
/// devices that have no immediates. In the byte order that it has on the wire there.
pub const INLINE_IMM_SIZE: usize = 4;

/// Divides a message that begins with a note into the immediate (host order) and what
/// is behind it.
#[inline]
pub fn split_inline_imm(message: &[u8]) -> Option<(u32, &[u8])> {
    let (note, rest) = message.split_first_chunk::<INLINE_IMM_SIZE>()?;
    Some((u32::from_be_bytes(*note), rest))
}

const TYPE_IO_REQ: u32 = 0;
const TYPE_IO_RSP: u32 = 1;
const TYPE_IO_RSP_INVALIDATED: u32 = 2;
const TYPE_HEARTBEAT: u32 = 8;
const TYPE_HEARTBEAT_ACK: u32 = 9;

/// What an immediate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imm {
    /// Client to server: a request lies in a chunk, see [`IoReqLayout::decode`].
    IoReq(IoReqPayload),
    /// Server to client: a request is done.
    IoRsp(IoRsp),
    /// Either way, first connection only: are you there? A server also says how its
    /// news stands to a client that listens; all others say [`EventCount::NONE`], and do not
    /// look at it.
    Heartbeat(EventCount),
    /// Either way, first connection only: yes.
    HeartbeatAck,
}

/// Where a request lies, still to be read through the layout of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoReqPayload(u32);

/// A server's answer to a request.
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
    /// The answer to the request in `id`.
    ///
    /// `errno` is positive, 0 for success. A number that does not fit becomes `EINVAL`.
    /// `invalidated` says that the client's key was invalidated just before.
    pub const fn new(id: BufId, errno: i32, invalidated: bool) -> Self {
        let errno = match errno {
            0 => 0,
            _ => failure(errno),
        };
        // INVARIANT: An id has 16 bits; `errno` was bounded above.
        Self {
            id: id.get() as u32,
            errno: errno as u16,
            invalidated,
        }
    }

    /// The request that is answered, if `depth` has that id.
    #[inline]
    pub const fn id(self, depth: QueueDepth) -> Result<BufId, WireError> {
        match depth.buffer(self.id) {
            Some(id) => Ok(id),
            None => Err(WireError::MessageId(self.id)),
        }
    }

    /// Error number of the request: positive, 0 for success.
    #[inline]
    pub const fn errno(self) -> i32 {
        self.errno as i32
    }

    /// Whether the server invalidated the client's key.
    #[inline]
    pub const fn invalidated(self) -> bool {
        self.invalidated
    }
}

impl Imm {
    /// Reads an immediate (host order).
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

    /// The immediate as a number (host order).
    #[inline]
    pub const fn encode(self) -> u32 {
        let (kind, payload) = match self {
            Self::IoReq(at) => (TYPE_IO_REQ, at.0),
            Self::IoRsp(rsp) => (
                if rsp.invalidated {
                    TYPE_IO_RSP_INVALIDATED
                } else {
                    TYPE_IO_RSP
                },
                ((rsp.errno as u32) << RESPONSE_ID_BITS) | rsp.id,
            ),
            Self::Heartbeat(news) => (TYPE_HEARTBEAT, news.get()),
            Self::HeartbeatAck => (TYPE_HEARTBEAT_ACK, 0),
        };
        (kind << PAYLOAD_BITS) | payload
    }
}

/// How the payload of a request's immediate is divided: chunk id above, offset
/// of the RTRS message in that chunk below.
///
/// The ids take as many bits as the queue depth asks for, the offset all others.
///
/// # Invariants
///
/// Ids and offsets below `chunk_size` fit into [`PAYLOAD_BITS`] together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoReqLayout {
    depth: QueueDepth,
    chunk_size: NonZeroU32,
}

impl IoReqLayout {
    /// The layout of a session with chunks of `chunk_size` bytes.
    pub const fn new(depth: QueueDepth, chunk_size: u32) -> Result<Self, WireError> {
        let id = depth.bits();
        let offset = bits_below(chunk_size);
        let Some(chunk_size) = NonZeroU32::new(chunk_size) else {
            return Err(WireError::ChunkSize(chunk_size));
        };

        if id.saturating_add(offset) > PAYLOAD_BITS {
            return Err(WireError::ImmBits { id, offset });
        }
        // INVARIANT: Checked just above.
        Ok(Self { depth, chunk_size })
    }

    /// Depth of the queue.
    pub const fn queue_depth(self) -> QueueDepth {
        self.depth
    }

    /// Size of a chunk in bytes.
    #[inline]
    pub const fn chunk_size(self) -> u32 {
        self.chunk_size.get()
    }

    /// Size of a chunk as a divisor.
    pub(crate) const fn chunk_size_nonzero(self) -> NonZeroU32 {
        self.chunk_size
    }

    const fn offset_bits(self) -> u32 {
        // An id takes 16 bits at most.
        PAYLOAD_BITS.saturating_sub(self.depth.bits())
    }

    /// The payload for a request in chunk `id` with its RTRS message at `offset`.
    #[inline]
    pub const fn encode(self, id: BufId, offset: u32) -> Result<Imm, WireError> {
        // The id may stem from another queue.
        if self.depth.buffer(id.get() as u32).is_none() {
            return Err(WireError::MessageId(id.get() as u32));
        }
        if offset >= self.chunk_size.get() {
            return Err(WireError::Offset(offset));
        }
        let payload = ((id.get() as u32) << self.offset_bits()) | offset;
        Ok(Imm::IoReq(IoReqPayload(payload)))
    }

    /// Chunk id and offset of the RTRS message in it.
    #[inline]
    pub const fn decode(self, at: IoReqPayload) -> Result<(BufId, u32), WireError> {
        let raw = at.0 >> self.offset_bits();
        let offset = at.0 & ((1 << self.offset_bits()) - 1);

        let Some(id) = self.depth.buffer(raw) else {
            return Err(WireError::MessageId(raw));
        };
        if offset >= self.chunk_size.get() {
            return Err(WireError::Offset(offset));
        }
        Ok((id, offset))
    }
}
