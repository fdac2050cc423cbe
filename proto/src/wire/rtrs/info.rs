// SPDX-License-Identifier: GPL-2.0-only

//! INFO_REQ and INFO_RSP, exchanged over the first connection once all connections of a path
//! are up: the client names the session, the server sends the addresses of its chunks.

use zerocopy::{
    little_endian::U16,
    FromBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    auth::{
        KeyName,
        Nonce,
        MAX_KEY_NAME,
        NONCE_SIZE,
        PROOF_SIZE, //
    },
    error::WireError,
    imm::IoReqLayout,
    limits::BufId,
    wire::{
        self,
        name::{
            NameBuf,
            SessName, //
        }, //
    }, //
};

use super::{
    SgDesc,
    WireDesc,
    TYPE_INFO_REQ,
    TYPE_INFO_RSP, //
};

/// Size of an INFO_REQ in bytes.
pub const INFO_REQ_SIZE: usize = 272;

/// Size of an INFO_REQ with a proof at its end, in bytes. Not in C.
pub const AUTH_INFO_REQ_SIZE: usize = 400;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireInfoReq {
    kind: U16,
    /// `pathname` of C and the first of its reserved bytes.
    name: NameBuf,
    reserved: [u8; 14],
}

/// Follows on an INFO_REQ.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireInfoAuth {
    key: [u8; MAX_KEY_NAME + 1],
    nonce: [u8; NONCE_SIZE],
    /// Written and read by [`crate::auth`].
    proof: [u8; PROOF_SIZE],
}

const _: () = assert!(size_of::<WireInfoReq>() + size_of::<WireInfoAuth>() == AUTH_INFO_REQ_SIZE);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireInfoRsp {
    kind: U16,
    count: U16,
    reserved: [u8; 4],
}

const _: () = assert!(size_of::<WireInfoReq>() == INFO_REQ_SIZE);

/// Returns the size in bytes of an INFO_RSP with `count` descriptors.
pub const fn info_rsp_size(count: u16) -> usize {
    size_of::<WireInfoRsp>() + count as usize * size_of::<WireDesc>()
}

/// What a client that proves a key adds to INFO_REQ, beside the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoAuth {
    /// Name of the key.
    pub key: KeyName,
    /// The client's nonce.
    pub nonce: Nonce,
}

impl InfoAuth {
    /// Parses it in an INFO_REQ.
    pub fn parse(message: &[u8; AUTH_INFO_REQ_SIZE]) -> Result<Self, WireError> {
        let rest = message.get(INFO_REQ_SIZE..).unwrap_or_default();
        let msg: WireInfoAuth = wire::read(rest)?;
        Ok(Self {
            key: KeyName::from_field(&msg.key).ok_or(WireError::Name)?,
            nonce: Nonce(msg.nonce),
        })
    }
}

/// A client's INFO_REQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoReq<'a> {
    /// Name of the session.
    pub name: SessName<'a>,
}

impl<'a> InfoReq<'a> {
    /// Parses the message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let Ok((msg, _)) = WireInfoReq::ref_from_prefix(bytes) else {
            return Err(WireError::Short {
                need: INFO_REQ_SIZE,
                got: bytes.len(),
            });
        };
        if msg.kind.get() != TYPE_INFO_REQ {
            return Err(WireError::MessageType(msg.kind.get()));
        }
        Ok(Self {
            name: SessName::from_field(&msg.name)?,
        })
    }

    /// Writes the message to `buf` and returns its length.
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, WireError> {
        let msg = WireInfoReq {
            kind: TYPE_INFO_REQ.into(),
            name: self.name.to_field(),
            reserved: [0; 14],
        };
        wire::write(&msg, buf)
    }

    /// Returns the message of a client that proves a key, which
    /// [adds the proof](crate::auth::prove).
    pub fn encode_auth(&self, auth: &InfoAuth) -> Result<[u8; AUTH_INFO_REQ_SIZE], WireError> {
        let mut message = [0; AUTH_INFO_REQ_SIZE];
        let start = self.encode(&mut message)?;
        let rest = WireInfoAuth {
            key: auth.key.to_field(),
            nonce: auth.nonce.0,
            proof: [0; PROOF_SIZE],
        };
        wire::write(&rest, message.get_mut(start..).unwrap_or_default())?;
        Ok(message)
    }
}

/// A chunk of the server, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteChunk {
    /// Id of the chunk.
    pub id: BufId,
    /// Address in the server's address space.
    pub addr: u64,
    /// Remote key of the chunk.
    pub rkey: u32,
}

/// A server's INFO_RSP: the addresses of its chunks.
///
/// A descriptor covers one or more contiguous chunks.
///
/// # Invariants
///
/// The descriptors are valid, each covers a whole number of chunks, and together they cover
/// exactly the chunks of `layout`.
#[derive(Clone, Copy)]
pub struct InfoRsp<'a> {
    layout: IoReqLayout,
    descs: &'a [WireDesc],
}

impl<'a> InfoRsp<'a> {
    /// Parses the message, in a session of the given layout.
    pub fn parse(bytes: &'a [u8], layout: IoReqLayout) -> Result<Self, WireError> {
        let (msg, rest) = WireInfoRsp::ref_from_prefix(bytes).map_err(|_| WireError::Short {
            need: info_rsp_size(1),
            got: bytes.len(),
        })?;
        if msg.kind.get() != TYPE_INFO_RSP {
            return Err(WireError::MessageType(msg.kind.get()));
        }
        let count = msg.count.get();
        let depth = layout.queue_depth().get();
        if count == 0 || count > depth {
            return Err(WireError::DescriptorCount(count));
        }
        let (descs, _) = <[WireDesc]>::ref_from_prefix_with_elems(rest, usize::from(count))
            .map_err(|_| WireError::Short {
                need: info_rsp_size(count),
                got: bytes.len(),
            })?;

        let mut left = u32::from(depth);
        for desc in descs {
            let desc = SgDesc::try_from(desc)?;
            let chunks = desc.len() / layout.chunk_size_nonzero();
            if desc.len() % layout.chunk_size_nonzero() != 0 {
                return Err(WireError::DescriptorLength(desc.len()));
            }
            left = left
                .checked_sub(chunks)
                .ok_or(WireError::DescriptorLength(desc.len()))?;
        }
        if left != 0 {
            return Err(WireError::DescriptorCount(count));
        }
        // INVARIANT: All checked above.
        Ok(Self { layout, descs })
    }

    /// Writes an INFO_RSP with the descriptors `descs` to `buf` and returns its length.
    pub fn encode<I>(descs: I, buf: &mut [u8]) -> Result<usize, WireError>
    where
        I: ExactSizeIterator<Item = SgDesc>,
    {
        let count = u16::try_from(descs.len()).map_err(|_| WireError::DescriptorCount(u16::MAX))?;
        let need = info_rsp_size(count);
        let got = buf.len();
        let buf = buf.get_mut(..need).ok_or(WireError::NoRoom { need, got })?;
        let msg = WireInfoRsp {
            kind: TYPE_INFO_RSP.into(),
            count: count.into(),
            reserved: [0; 4],
        };
        let start = wire::write(&msg, buf)?;
        let rest = buf.get_mut(start..).unwrap_or_default();
        for (to, desc) in rest.chunks_exact_mut(size_of::<WireDesc>()).zip(descs) {
            wire::write(&WireDesc::from(desc), to)?;
        }
        Ok(need)
    }

    /// Returns all chunks of the server, in order of their ids.
    pub fn chunks(&self) -> impl Iterator<Item = RemoteChunk> + 'a {
        let size = self.layout.chunk_size_nonzero();
        let each = self.descs.iter().flat_map(move |desc| {
            let (addr, rkey) = (desc.addr.get(), desc.key.get());
            // The addition does not wrap, by the type invariant.
            (0..desc.len.get() / size).map(move |i| {
                (
                    addr.wrapping_add(u64::from(i) * u64::from(size.get())),
                    rkey,
                )
            })
        });
        self.layout
            .queue_depth()
            .buffers()
            .zip(each)
            .map(|(id, (addr, rkey))| RemoteChunk { id, addr, rkey })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        // The name includes the first reserved byte of C, at 257.
        assert_layout!(WireInfoReq, 272, { kind: 0, name: 2, reserved: 257 + 1 });
        assert_layout!(WireInfoAuth, 128, { key: 0, nonce: 64, proof: 96 });
        assert_layout!(WireInfoRsp, 8, { kind: 0, count: 2, reserved: 4 });
        assert_eq!(info_rsp_size(3), 8 + 3 * 16);
    }
}
