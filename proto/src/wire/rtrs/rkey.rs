// SPDX-License-Identifier: GPL-2.0-only

//! Remote keys of chunks: how they change, and RKEY_RSP, which carries the new one.

use zerocopy::little_endian::{
    U16,
    U32, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    error::WireError,
    limits::{
        BufId,
        QueueDepth, //
    },
    wire, //
};

use super::TYPE_RKEY_RSP;

/// Returns the key that the owner of a memory region uses after `rkey`.
///
/// The device assigns the upper 24 bits; the owner increments the low byte.
///
/// C: [`ib_inc_rkey`](srctree/include/rdma/ib_verbs.h).
#[inline]
pub const fn next_key(rkey: u32) -> u32 {
    const OWNER_BITS: u32 = 0xff;
    (rkey & !OWNER_BITS) | (rkey.wrapping_add(1) & OWNER_BITS)
}

/// Size of an RKEY_RSP in bytes.
pub const RKEY_RSP_SIZE: usize = 8;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireRkeyRsp {
    kind: U16,
    buf_id: U16,
    rkey: U32,
}

const _: () = assert!(size_of::<WireRkeyRsp>() == RKEY_RSP_SIZE);

/// The new key of a chunk, sent with the response to the request that was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RkeyRsp {
    /// Id of the chunk.
    pub id: BufId,
    /// New key of the chunk.
    pub rkey: u32,
}

impl RkeyRsp {
    /// Parses the message, in a session of the given queue depth.
    pub fn parse(bytes: &[u8], depth: QueueDepth) -> Result<Self, WireError> {
        let msg: WireRkeyRsp = wire::read(bytes)?;

        if msg.kind.get() != TYPE_RKEY_RSP {
            return Err(WireError::MessageType(msg.kind.get()));
        }
        let raw = u32::from(msg.buf_id.get());
        let id = depth.buffer(raw).ok_or(WireError::MessageId(raw))?;
        Ok(Self {
            id,
            rkey: msg.rkey.get(),
        })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; RKEY_RSP_SIZE] {
        zerocopy::transmute!(WireRkeyRsp {
            kind: TYPE_RKEY_RSP.into(),
            buf_id: self.id.get().into(),
            rkey: self.rkey.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_in_their_low_byte_only() {
        assert_eq!(next_key(0x1234_5600), 0x1234_5601);
        assert_eq!(next_key(0x1234_56ff), 0x1234_5600);
        assert_eq!(next_key(u32::MAX), 0xffff_ff00);
        let mut key = 0xabcd_ef42;
        for _ in 0..256 {
            key = next_key(key);
        }
        assert_eq!(key, 0xabcd_ef42, "every key comes once in 256");
    }

    #[test]
    fn layout() {
        assert_layout!(WireRkeyRsp, 8, { kind: 0, buf_id: 2, rkey: 4 });
    }
}
