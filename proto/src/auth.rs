// SPDX-License-Identifier: GPL-2.0-only

//! Authentication: both sides of a path prove that they have the same key.
//!
//! A proof is an HMAC-SHA256 (RFC 2104) with the key. Its input, the transcript, is
//!
//! 1. a label of 24 bytes, which differs between the two directions;
//! 2. for each connection of the path, in the order of their ids: the 56 bytes of private data
//!    of the connect request, of which the first two are taken as 0, and the 56 bytes of the
//!    accept, in which the server has sent a nonce;
//! 3. INFO_REQ: without its proof in the client's proof, whole in that of the server;
//! 4. only for the server: INFO_RSP without its proof.
//!
//! The client's nonce is in INFO_REQ. The number of connections is in each connect request, that
//! of descriptors in INFO_RSP, and all other parts have a fixed length, so two different
//! exchanges never have the same transcript.
//!
//! What follows from that:
//!
//! | attack | fails because |
//! |---|---|
//! | replay | each side contributes nonces, which the other's proof covers |
//! | reflection | the labels differ |
//! | a field is changed on the way: version, flags, counts, ids, names, addresses of chunks | the transcripts of both sides differ |
//! | a connection of another machine joins the path | its nonce is not in the client's transcript |
//! | downgrade | the client refuses a server that does not agree ([`agree`]) |
//!
//! The order of the calls is by types: the client gets an [`ExpectedProof`] from [`prove`], and
//! a path is up after [`ExpectedProof::check`]; the server gets a [`PendingProof`] only from
//! [`verify`], and needs it to respond.

mod key_name;

use core::hint::black_box;

use crate::wire::rtrs::{
    AUTH_INFO_REQ_SIZE,
    CONN_MSG_SIZE, //
};

pub use self::key_name::{
    KeyName,
    MAX_KEY_NAME, //
};

/// Size of a nonce in bytes.
pub const NONCE_SIZE: usize = 32;
/// Size of a proof in bytes.
pub const PROOF_SIZE: usize = 32;
/// Shortest key in bytes.
pub const MIN_KEY_SIZE: usize = 16;
/// Longest key in bytes: one block of SHA-256.
pub const MAX_KEY_SIZE: usize = 64;

const CLIENT_LABEL: &[u8; 24] = b"rnbd-auth-1 client proof";
const SERVER_LABEL: &[u8; 24] = b"rnbd-auth-1 server proof";

/// A random number that is used for one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; NONCE_SIZE]);

/// A key, ready to be used.
pub trait ProofKey {
    /// The computation of an HMAC-SHA256.
    type Mac: Mac;

    /// Begins an HMAC-SHA256 with the key.
    fn begin(&self) -> Self::Mac;
}

/// The computation of an HMAC-SHA256.
pub trait Mac {
    /// Adds `bytes` to the message.
    fn update(&mut self, bytes: &[u8]);

    /// Returns the HMAC of the message.
    fn finish(self) -> [u8; PROOF_SIZE];
}

/// The private data of one connection, as sent in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    request: [u8; CONN_MSG_SIZE],
    accept: [u8; CONN_MSG_SIZE],
}

impl Hello {
    /// Takes the private data of a connect request and of its accept, which padding may follow.
    ///
    /// Returns `None` if one is too short.
    pub fn new(request: &[u8], accept: &[u8]) -> Option<Self> {
        let mut hello = Self {
            request: *request.first_chunk()?,
            accept: *accept.first_chunk()?,
        };
        // With native addresses of InfiniBand the connection manager writes there.
        if let Some(manager) = hello.request.first_chunk_mut::<2>() {
            *manager = [0; 2];
        }
        Some(hello)
    }
}

/// Why the two sides of a connection do not agree on whether there are proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The client asked, and the server did not agree: it is of the C driver, an older version,
    /// or another machine changed its response.
    Refused,
    /// The client did not ask, and the server agreed.
    NotAsked,
}

/// Checks the server's response to a client that asked for authentication, or did not.
pub const fn agree(asked: bool, nonce: Option<Nonce>) -> Result<(), Disagreement> {
    match (asked, nonce) {
        (true, Some(_)) | (false, None) => Ok(()),
        (true, None) => Err(Disagreement::Refused),
        (false, Some(_)) => Err(Disagreement::NotAsked),
    }
}

/// A proof is wrong, or a message has no space for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotProven;

/// Begins a transcript.
fn begin<'a, K: ProofKey>(
    key: &K,
    label: &[u8],
    hellos: impl Iterator<Item = &'a Hello>,
) -> K::Mac {
    let mut mac = key.begin();
    mac.update(label);
    for hello in hellos {
        mac.update(&hello.request);
        mac.update(&hello.accept);
    }
    mac
}

/// Splits a message into its signed part and its proof, which is at its end.
fn split(message: &[u8]) -> Result<(&[u8], &[u8; PROOF_SIZE]), NotProven> {
    message.split_last_chunk().ok_or(NotProven)
}

/// Compares two proofs, in a time that does not depend on where they differ.
fn is_same(a: &[u8; PROOF_SIZE], b: &[u8; PROOF_SIZE]) -> bool {
    let differences = a
        .iter()
        .zip(b)
        .fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    black_box(differences) == 0
}

/// What a client expects to be proven by the server.
pub struct ExpectedProof<M>(M);

/// Writes the client's proof to the end of INFO_REQ, which is complete otherwise.
///
/// `hellos` are those of all connections of the path in the order of their ids.
pub fn prove<'a, K: ProofKey>(
    key: &K,
    hellos: impl Iterator<Item = &'a Hello> + Clone,
    info_req: &mut [u8; AUTH_INFO_REQ_SIZE],
) -> Result<ExpectedProof<K::Mac>, NotProven> {
    let mut mac = begin(key, CLIENT_LABEL, hellos.clone());
    let (signed, proof) = info_req.split_last_chunk_mut().ok_or(NotProven)?;
    mac.update(signed);
    *proof = mac.finish();
    let mut expected = begin(key, SERVER_LABEL, hellos);
    expected.update(info_req);
    Ok(ExpectedProof(expected))
}

impl<M: Mac> ExpectedProof<M> {
    /// Checks the server's proof, at the end of INFO_RSP.
    pub fn check(mut self, info_rsp: &[u8]) -> Result<(), NotProven> {
        let (signed, proof) = split(info_rsp)?;
        self.0.update(signed);
        match is_same(&self.0.finish(), proof) {
            true => Ok(()),
            false => Err(NotProven),
        }
    }
}

/// What a server has to prove to a client that has proven its key.
pub struct PendingProof<M>(M);

/// Checks the client's proof, at the end of INFO_REQ.
///
/// `hellos` are those of all connections of the path in the order of their ids.
pub fn verify<'a, K: ProofKey>(
    key: &K,
    hellos: impl Iterator<Item = &'a Hello> + Clone,
    info_req: &[u8; AUTH_INFO_REQ_SIZE],
) -> Result<PendingProof<K::Mac>, NotProven> {
    let (signed, proof) = split(info_req)?;
    let mut mac = begin(key, CLIENT_LABEL, hellos.clone());
    mac.update(signed);
    if !is_same(&mac.finish(), proof) {
        return Err(NotProven);
    }
    let mut pending = begin(key, SERVER_LABEL, hellos);
    pending.update(info_req);
    Ok(PendingProof(pending))
}

impl<M: Mac> PendingProof<M> {
    /// Writes the server's proof to the end of INFO_RSP, which is complete otherwise.
    pub fn write(mut self, info_rsp: &mut [u8]) -> Result<(), NotProven> {
        let (signed, proof) = info_rsp.split_last_chunk_mut().ok_or(NotProven)?;
        self.0.update(signed);
        *proof = self.0.finish();
        Ok(())
    }
}
