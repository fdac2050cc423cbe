// SPDX-License-Identifier: GPL-2.0-only

//! The message that brings a new key with an answer.

use zerocopy::little_endian::U16;
use zerocopy::little_endian::U32;
use zerocopy_derive::FromBytes;
use zerocopy_derive::Immutable;
use zerocopy_derive::IntoBytes;
use zerocopy_derive::KnownLayout;
use zerocopy_derive::Unaligned;

use super::TYPE_RKEY_RSP;
use crate::error::WireError;
use crate::limits::BufId;
use crate::limits::QueueDepth;
use crate::wire;

/// Length of an RKEY_RSP in bytes.
pub const RKEY_RSP_SIZE: usize = 8;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireRkeyRsp {
    kind: U16,
    buf_id: U16,
    rkey: U32,
}

const _: () = assert!(size_of::<WireRkeyRsp>() == RKEY_RSP_SIZE);

/// The new key of a chunk, sent with the answer to the request that was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RkeyRsp {
    /// The chunk.
    pub id: BufId,
    /// Its key from now on.
    pub rkey: u32,
}

impl RkeyRsp {
    /// Reads the message, in a session of the given queue depth.
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

    /// The message to send.
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
    fn layout() {
        assert_layout!(WireRkeyRsp, 8, { kind: 0, buf_id: 2, rkey: 4 });
    }
}
