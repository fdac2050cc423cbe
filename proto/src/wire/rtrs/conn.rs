// SPDX-License-Identifier: GPL-2.0-only

//! Private data of a connect request.

use zerocopy::little_endian::{
    U16,
    U64, //
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
    limits::MAX_CONNECTIONS,
    wire::{
        self,
        name::SessName, //
    }, //
};

use super::{
    check_version,
    MAGIC,
    VERSION, //
};

/// Size of the private data, in both directions, in bytes.
pub const CONN_MSG_SIZE: usize = 56;

const FIRST_CONN: u8 = 1 << 0;
/// Not in C, where the bit is reserved and ignored.
const INLINE_IMM: u8 = 1 << 7;
/// Not in C either.
const SHORT_RESPONSES: u8 = 1 << 6;
/// Nor this.
const AUTH: u8 = 1 << 5;
/// Nor this.
const EAGER: u8 = 1 << 4;

/// Identity of a path or of a session, a random number of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireConnReq {
    /// Zero: the connection manager overwrites it if the addresses are AF_IB.
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
    reserved: [u8; 3],
    /// Reserved in C and ignored.
    name_hash: U64,
}

const _: () = assert!(size_of::<WireConnReq>() == CONN_MSG_SIZE);

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
    inline_imm: bool,
    short_responses: bool,
    auth: bool,
    eager: bool,
    name_hash: u64,
}

impl ConnReq {
    /// Creates the request for connection `id` of `count` of the path `path` in session
    /// `session`.
    ///
    /// `reconnects` is how often the path was connected before. `first` asks the server to create
    /// the session if it does not exist.
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
            inline_imm: false,
            short_responses: false,
            auth: false,
            eager: false,
            name_hash: 0,
        })
    }

    /// Requests inline immediates in both directions, for a device without immediates (see
    /// [`crate::imm::INLINE_IMM_SIZE`]).
    pub const fn with_inline_imm(self, inline_imm: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self { inline_imm, ..self }
    }

    /// Offers short responses (see [`super::NextKey::Stepped`]).
    pub const fn with_short_responses(self, short_responses: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self {
            short_responses,
            ..self
        }
    }

    /// Asks for authentication (see [`crate::auth`]).
    pub const fn with_auth(self, auth: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self { auth, ..self }
    }

    /// Offers eager requests (see [`super::eager`]).
    pub const fn with_eager(self, eager: bool) -> Self {
        // INVARIANT: The numbers do not change.
        Self { eager, ..self }
    }

    /// Tells the server the name of the session in advance, as a hash.
    pub const fn with_name(self, name: SessName<'_>) -> Self {
        // INVARIANT: The numbers do not change.
        Self {
            name_hash: hash_name(name.as_bytes()),
            ..self
        }
    }

    /// Parses the private data of a connect request.
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
        .map(|req| {
            // INVARIANT: The numbers do not change.
            Self {
                name_hash: msg.name_hash.get(),
                ..req
            }
            .with_inline_imm(msg.flags & INLINE_IMM != 0)
            .with_short_responses(msg.flags & SHORT_RESPONSES != 0)
            .with_auth(msg.flags & AUTH != 0)
            .with_eager(msg.flags & EAGER != 0)
        })
    }

    /// Encodes the private data.
    pub fn encode(&self) -> [u8; CONN_MSG_SIZE] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
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
            flags: flag(self.first, FIRST_CONN)
                | flag(self.inline_imm, INLINE_IMM)
                | flag(self.short_responses, SHORT_RESPONSES)
                | flag(self.auth, AUTH)
                | flag(self.eager, EAGER),
            reserved: [0; 3],
            name_hash: self.name_hash.into(),
        })
    }

    /// Returns the id of the connection within its path; 0 is the control connection.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Returns the number of connections of the path.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Returns how often the client connected this path before.
    pub const fn reconnects(&self) -> u16 {
        self.reconnects
    }

    /// Returns the identity of the path (`sess_uuid` in C).
    pub const fn path(&self) -> Uuid {
        self.path
    }

    /// Returns the identity of the session, which its paths share (`paths_uuid` in C).
    pub const fn session(&self) -> Uuid {
        self.session
    }

    /// Returns whether the client requests inline immediates.
    pub const fn inline_imm(&self) -> bool {
        self.inline_imm
    }

    /// Returns whether the client accepts short responses.
    pub const fn short_responses(&self) -> bool {
        self.short_responses
    }

    /// Returns whether the client asks for authentication.
    pub const fn auth(&self) -> bool {
        self.auth
    }

    /// Returns whether the client offers eager requests.
    pub const fn eager(&self) -> bool {
        self.eager
    }

    /// Returns whether the client is going to name its session `name`, as far as it has told. A
    /// client of the C driver does not tell.
    pub const fn is_for(&self, name: &[u8]) -> bool {
        self.name_hash != 0 && self.name_hash == hash_name(name)
    }

    /// Returns whether the server may create the session.
    pub const fn first(&self) -> bool {
        self.first
    }
}

/// Returns the hash of the name of a session (FNV-1a), which is not 0.
const fn hash_name(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut rest = name;
    while let [byte, after @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        rest = after;
    }
    if hash == 0 {
        1
    } else {
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_its_session_only() {
        let uuid = Uuid([7; 16]);
        let req = ConnReq::new(0, 1, 0, uuid, uuid, true).unwrap();
        let named = req.with_name(SessName::new(b"bench").unwrap());
        assert_eq!(ConnReq::parse(&named.encode()), Ok(named));
        for (name, is_for) in [
            (&b"bench"[..], true),
            (b"bencH", false),
            (b"benc", false),
            (b"", false),
        ] {
            assert_eq!(named.is_for(name), is_for);
            assert!(!req.is_for(name), "the C driver does not tell");
        }
    }

    #[test]
    fn hashes_are_those_of_fnv() {
        for (name, hash) in [
            (&b""[..], 0xcbf2_9ce4_8422_2325),
            (b"a", 0xaf63_dc4c_8601_ec8c),
        ] {
            assert_eq!(hash_name(name), hash);
        }
    }

    #[test]
    fn layout() {
        // In C `first_conn` is a bit field between `paths_uuid` and `reserved`.
        assert_layout!(WireConnReq, 56, {
            cma_version: 0, ip_version: 1, magic: 2, version: 4, cid: 6, cid_num: 8,
            recon_cnt: 10, sess_uuid: 12, paths_uuid: 28, flags: 44, reserved: 45, name_hash: 48,
        });
    }
}
