// SPDX-License-Identifier: GPL-2.0-only

//! Private data of an accept and of a reject.

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
    auth::{
        Nonce,
        NONCE_SIZE, //
    },
    error::WireError,
    imm::{
        sanitize_errno,
        IoReqLayout, //
    },
    limits::{
        QueueDepth,
        ServerLimits,
        HEADER_SIZE,
        MAX_HEADER_SIZE,
        MIN_HEADER_SIZE,
        MIN_IO_SIZE, //
    },
    wire, //
};

use super::{
    check_version,
    CONN_MSG_SIZE,
    MAGIC,
    VERSION, //
};

const NEW_RKEY: u32 = 1 << 1;
/// Not in C. Set only if the client requested inline immediates.
const INLINE_IMM: u32 = 1 << 31;
/// Not in C either. Set only if the client offered short responses.
const SHORT_RESPONSES: u32 = 1 << 30;
/// Nor this. Set, with a nonce, only if the client asked for authentication.
const AUTH: u32 = 1 << 29;
/// Nor this. Set only if the client offered eager requests, with short responses.
const EAGER: u32 = 1 << 28;

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
    /// Reserved in C.
    nonce: [u8; NONCE_SIZE],
    reserved: [u8; 4],
}

const _: () = assert!(size_of::<WireConnRsp>() == CONN_MSG_SIZE);

/// How a client learns the key of a chunk that is valid after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextKey {
    /// The key stays the same.
    Same,
    /// The response carries the key, in an [`RkeyRsp`](super::RkeyRsp).
    Sent,
    /// The key is the one [after](super::next_key) the last one. Responses are short: one RDMA
    /// write with immediate, which also carries the data.
    Stepped,
}

/// The parameters of a server that accepts.
///
/// # Invariants
///
/// `max_io_size` and `header_size` are within [`crate::limits`] and their sum is
/// the chunk size of `layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAccept {
    layout: IoReqLayout,
    max_io_size: u32,
    header_size: u32,
    new_rkey: bool,
    inline_imm: bool,
    short_responses: bool,
    eager: bool,
    nonce: Option<Nonce>,
}

impl ConnAccept {
    /// Creates the parameters of a server with these `limits`.
    ///
    /// `new_rkey` is whether a chunk has a new key after each response (`always_invalidate`).
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
                inline_imm: false,
                short_responses: false,
                eager: false,
                nonce: None,
            }),
            Err(e) => Err(e),
        }
    }

    /// Accepts inline immediates, which the client requested.
    pub const fn with_inline_imm(self, inline_imm: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self { inline_imm, ..self }
    }

    /// Returns whether immediates are inline (see [`crate::imm::INLINE_IMM_SIZE`]).
    pub const fn inline_imm(&self) -> bool {
        self.inline_imm
    }

    /// Accepts short responses, which the client offered.
    pub const fn with_short_responses(self, short_responses: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self {
            short_responses,
            ..self
        }
    }

    /// Returns whether a response is one RDMA write with immediate, which also carries the data
    /// of a READ.
    pub const fn short_responses(&self) -> bool {
        self.short_responses
    }

    /// Accepts eager requests, which the client offered.
    pub const fn with_eager(self, eager: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self { eager, ..self }
    }

    /// Returns whether requests are eager where they fit (see [`super::eager`]). Only with
    /// short responses, and without inline immediates.
    pub const fn eager(&self) -> bool {
        self.eager && self.short_responses && !self.inline_imm
    }

    /// Agrees to authentication, which the client asked for, and sends the server's nonce for
    /// this connection.
    pub const fn with_nonce(self, nonce: Option<Nonce>) -> Self {
        // INVARIANT: The numbers do not change.
        Self { nonce, ..self }
    }

    /// Returns the server's nonce, if the server agrees to authentication.
    pub const fn nonce(&self) -> Option<Nonce> {
        self.nonce
    }

    /// Returns the layout of the immediates of requests.
    pub const fn layout(&self) -> IoReqLayout {
        self.layout
    }

    /// Returns the depth of the queue.
    pub const fn queue_depth(&self) -> QueueDepth {
        self.layout.queue_depth()
    }

    /// Returns the size of the server's chunks in bytes.
    pub const fn chunk_size(&self) -> u32 {
        self.layout.chunk_size()
    }

    /// Returns the largest I/O size in bytes.
    pub const fn max_io_size(&self) -> u32 {
        self.max_io_size
    }

    /// Returns whether a chunk has a new key after each response.
    pub const fn new_rkey(&self) -> bool {
        self.new_rkey
    }

    /// Returns how the client learns that key.
    pub const fn next_key(&self) -> NextKey {
        match (self.new_rkey, self.short_responses) {
            (false, _) => NextKey::Same,
            (true, false) => NextKey::Sent,
            (true, true) => NextKey::Stepped,
        }
    }
}

/// A server's response to a connect request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnRsp {
    /// The connection is accepted.
    Accept(ConnAccept),
    /// The connection is rejected with this error number: positive, at most
    /// [`MAX_ERRNO`](crate::imm::MAX_ERRNO).
    Reject(i32),
}

impl ConnRsp {
    /// Parses the private data of an established or rejected connection.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let msg: WireConnRsp = wire::read(bytes)?;

        if msg.magic.get() != MAGIC {
            return Err(WireError::Magic(msg.magic.get()));
        }
        check_version(msg.version.get())?;
        match msg.errno.get() {
            0 => {}
            // A negative error number in 16 bits.
            errno => return Ok(Self::Reject(sanitize_errno(i32::from(errno as i16).abs()))),
        }
        Ok(Self::Accept(
            ConnAccept::new(
                QueueDepth::new(u32::from(msg.queue_depth.get()))?,
                msg.max_io_size.get(),
                msg.max_hdr_size.get(),
                msg.flags.get() & NEW_RKEY != 0,
            )?
            .with_inline_imm(msg.flags.get() & INLINE_IMM != 0)
            .with_short_responses(msg.flags.get() & SHORT_RESPONSES != 0)
            .with_eager(msg.flags.get() & EAGER != 0)
            .with_nonce((msg.flags.get() & AUTH != 0).then_some(Nonce(msg.nonce))),
        ))
    }

    /// Encodes the private data.
    pub fn encode(&self) -> [u8; CONN_MSG_SIZE] {
        let mut msg = WireConnRsp {
            magic: MAGIC.into(),
            version: VERSION.into(),
            errno: 0.into(),
            queue_depth: 0.into(),
            max_io_size: 0.into(),
            max_hdr_size: 0.into(),
            flags: 0.into(),
            nonce: [0; NONCE_SIZE],
            reserved: [0; 4],
        };
        match self {
            Self::Accept(accept) => {
                msg.queue_depth = accept.queue_depth().get().into();
                msg.max_io_size = accept.max_io_size.into();
                msg.max_hdr_size = accept.header_size.into();
                let flag = |set: bool, bit: u32| if set { bit } else { 0 };
                let flags = flag(accept.new_rkey, NEW_RKEY)
                    | flag(accept.inline_imm, INLINE_IMM)
                    | flag(accept.short_responses, SHORT_RESPONSES)
                    | flag(accept.eager(), EAGER)
                    | flag(accept.nonce.is_some(), AUTH);
                msg.flags = flags.into();
                if let Some(Nonce(nonce)) = accept.nonce {
                    msg.nonce = nonce;
                }
            }
            Self::Reject(errno) => {
                // `errno` is not 0, so a reject does not read as an accept.
                msg.errno = (sanitize_errno(*errno).wrapping_neg() as u16).into();
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
        assert_layout!(WireConnRsp, 56, {
            magic: 0, version: 2, errno: 4, queue_depth: 6, max_io_size: 8,
            max_hdr_size: 12, flags: 16, nonce: 20, reserved: 52,
        });
    }
}
