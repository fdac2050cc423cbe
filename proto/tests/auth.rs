// SPDX-License-Identifier: GPL-2.0-only

//! Proofs of keys: what an honest pair accepts, and that an attacker on the network who has all
//! messages of earlier exchanges, and can change those of the present one, gets nothing accepted.

use hmac::{
    Hmac,
    Mac as _, //
};
use proptest::prelude::*;
use sha2::Sha256;

use rnbd_proto::{
    auth::{
        self,
        agree,
        Disagreement,
        ExpectedProof,
        Hello,
        KeyName,
        Mac,
        Nonce,
        NotProven,
        PendingProof,
        ProofKey,
        PROOF_SIZE, //
    },
    limits::ServerLimits,
    wire::{
        name::SessName,
        rtrs::{
            info_rsp_size,
            ConnAccept,
            ConnReq,
            ConnRsp,
            InfoAuth,
            InfoReq,
            InfoRsp,
            SgDesc,
            Uuid,
            AUTH_INFO_REQ_SIZE, //
        }, //
    }, //
};

struct Key(Vec<u8>);

struct HostMac(Hmac<Sha256>);

impl ProofKey for Key {
    type Mac = HostMac;

    fn begin(&self) -> HostMac {
        HostMac(Hmac::new_from_slice(&self.0).unwrap())
    }
}

impl Mac for HostMac {
    fn update(&mut self, bytes: &[u8]) {
        hmac::Mac::update(&mut self.0, bytes);
    }

    fn finish(self) -> [u8; PROOF_SIZE] {
        self.0.finalize().into_bytes().into()
    }
}

fn key(seed: u8) -> Key {
    Key(vec![seed; 32])
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

/// The test cases 1, 2 and 6 of RFC 4231.
#[test]
fn the_hash_is_hmac_sha256() {
    for (key, message, mac) in [
        (
            vec![0x0b; 20],
            &b"Hi There"[..],
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ] {
        let mut computed = Key(key).begin();
        computed.update(&message[..3]);
        computed.update(&message[3..]);
        assert_eq!(computed.finish()[..], unhex(mac));
    }
}

/// Messages of an exchange that one side has seen or sent.
#[derive(Clone)]
struct Exchange {
    requests: Vec<[u8; 56]>,
    accepts: Vec<[u8; 56]>,
    info_req: [u8; AUTH_INFO_REQ_SIZE],
    info_rsp: Vec<u8>,
}

impl Exchange {
    fn hellos(&self) -> Vec<Hello> {
        let pairs = self.requests.iter().zip(&self.accepts);
        pairs
            .map(|(request, accept)| Hello::new(request, accept).unwrap())
            .collect()
    }

    /// All messages, of which `change` can change bits.
    fn messages(&mut self) -> Vec<&mut [u8]> {
        let Self {
            requests,
            accepts,
            info_req,
            info_rsp,
        } = self;
        let mut all: Vec<&mut [u8]> = Vec::new();
        all.extend(requests.iter_mut().map(|m| &mut m[..]));
        all.extend(accepts.iter_mut().map(|m| &mut m[..]));
        all.push(info_req);
        all.push(info_rsp);
        all
    }
}

/// The client's messages up to INFO_REQ, for an exchange that is unique by `run`.
fn begin(key: &Key, run: u8, connections: u16) -> (Exchange, ExpectedProof<HostMac>) {
    let limits = ServerLimits::new(4, 131_072).unwrap();
    let accept = ConnAccept::from_limits(limits, true)
        .unwrap()
        .with_short_responses(true);
    let (path, session) = (Uuid([run; 16]), Uuid([0x77; 16]));
    let mut exchange = Exchange {
        requests: Vec::new(),
        accepts: Vec::new(),
        info_req: [0; AUTH_INFO_REQ_SIZE],
        info_rsp: Vec::new(),
    };
    for id in 0..connections {
        let request = ConnReq::new(id, connections, 0, path, session, true).unwrap();
        let nonce = Nonce([run ^ ((id as u8) << 4); 32]);
        exchange
            .requests
            .push(request.with_short_responses(true).with_auth(true).encode());
        exchange
            .accepts
            .push(ConnRsp::Accept(accept.with_nonce(Some(nonce))).encode());
    }
    let info = InfoReq {
        name: SessName::new(b"s1").unwrap(),
    };
    let auth = InfoAuth {
        key: KeyName::new(b"web1").unwrap(),
        nonce: Nonce([run.wrapping_add(1); 32]),
    };
    exchange.info_req = info.encode_auth(&auth).unwrap();
    let hellos = exchange.hellos();
    let expected = auth::prove(key, hellos.iter(), &mut exchange.info_req).unwrap();
    (exchange, expected)
}

/// The server's check of what it has received.
fn verify(key: &Key, seen: &Exchange) -> Result<PendingProof<HostMac>, NotProven> {
    auth::verify(key, seen.hellos().iter(), &seen.info_req)
}

/// The server's INFO_RSP.
fn respond(pending: PendingProof<HostMac>) -> Vec<u8> {
    let descs =
        (0..4_u16).map(|i| SgDesc::new(0x1000 + u64::from(i) * 131_072, 7, 131_072).unwrap());
    let mut message = vec![0; info_rsp_size(4) + PROOF_SIZE];
    InfoRsp::encode(descs, &mut message).unwrap();
    pending.write(&mut message).unwrap();
    message
}

fn complete(key: &Key, run: u8) -> (Exchange, ExpectedProof<HostMac>) {
    let (mut exchange, expected) = begin(key, run, 3);
    exchange.info_rsp = respond(verify(key, &exchange).unwrap());
    (exchange, expected)
}

#[test]
fn both_sides_with_the_key_accept() {
    let (exchange, expected) = complete(&key(1), 9);
    assert_eq!(expected.check(&exchange.info_rsp), Ok(()));
    let auth = InfoAuth::parse(&exchange.info_req).unwrap();
    assert_eq!(auth.key.as_bytes(), b"web1");
}

/// Computed by Python's hmac from the description in Documentation/protocol.md.
#[test]
fn proofs_are_those_of_another_implementation() {
    let (exchange, _) = complete(&key(1), 9);
    let proof = |message: &[u8]| message[message.len() - PROOF_SIZE..].to_vec();
    assert_eq!(proof(&exchange.info_req), unhex(GOLDEN_CLIENT));
    assert_eq!(proof(&exchange.info_rsp), unhex(GOLDEN_SERVER));
}

const GOLDEN_CLIENT: &str = "f1ac7272119c2d5b507e518da986a1faae8d77f0f7486faebceb7f012941c33f";
const GOLDEN_SERVER: &str = "8f2de85833b2cbb016c7d9e16b878dcb9f6966f0e797b96cda05c051bedac835";

#[test]
fn another_key_is_refused_by_both() {
    let (mut exchange, expected) = begin(&key(1), 9, 3);
    assert!(verify(&key(2), &exchange).is_err());
    // A server of another key, which does not look.
    let (other, _) = complete(&key(2), 9);
    exchange.info_rsp = other.info_rsp;
    assert_eq!(expected.check(&exchange.info_rsp), Err(NotProven));
}

#[test]
fn a_message_without_room_for_a_proof_is_refused() {
    let (_, expected) = begin(&key(1), 9, 1);
    assert_eq!(expected.check(&[0; PROOF_SIZE - 1]), Err(NotProven));
    assert_eq!(Hello::new(&[0; 55], &[0; 56]), None);
    assert_eq!(Hello::new(&[0; 56], &[0; 55]), None);
}

/// Padding after private data, and what the connection manager writes into it, do not matter.
#[test]
fn only_the_message_counts_in_private_data() {
    let (exchange, _) = begin(&key(1), 9, 1);
    let (request, accept) = (&exchange.requests[0], &exchange.accepts[0]);
    let mut padded = [request.to_vec(), vec![0; 100]].concat();
    padded[..2].copy_from_slice(&[1, 0x40]);
    let padded_accept = [accept.to_vec(), vec![0; 140]].concat();
    assert_eq!(
        Hello::new(&padded, &padded_accept),
        Hello::new(request, accept)
    );
}

/// The server sees a message that an attacker has changed in one bit, wherever that is: in the
/// version, the flags, the number of connections, names, nonces, the proof.
#[test]
fn every_bit_to_the_server_counts() {
    let (sent, _) = begin(&key(1), 9, 3);
    let messages = sent.clone().messages().len();
    // The last one is INFO_RSP, which has not been sent.
    for message in 0..messages - 1 {
        let length = sent.clone().messages()[message].len();
        for bit in 0..8 * length {
            // The connection manager's bytes.
            if message < 3 && bit < 16 {
                continue;
            }
            let mut seen = sent.clone();
            seen.messages()[message][bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&key(1), &seen).is_err(), "bit {bit} of {message}");
        }
    }
}

/// The same in the other direction. What the server said when connections were made is in the
/// client's proof already, which the server refuses if it was changed.
#[test]
fn every_bit_to_the_client_counts() {
    let length = complete(&key(1), 9).0.info_rsp.len();
    for bit in 0..8 * length {
        let (mut exchange, expected) = complete(&key(1), 9);
        exchange.info_rsp[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(expected.check(&exchange.info_rsp), Err(NotProven), "{bit}");
    }
}

/// An attacker who plays the client and the server, with all messages of some exchanges: of each
/// combination of them, the server accepts only those of one exchange together, and the client
/// only the response to its own.
#[test]
fn messages_of_other_exchanges_are_refused() {
    let runs: Vec<_> = (1..5).map(|run| complete(&key(1), run * 16).0).collect();
    let mut accepted = 0;
    for requests in 0..runs.len() {
        for accepts in 0..runs.len() {
            for info in 0..runs.len() {
                let seen = Exchange {
                    requests: runs[requests].requests.clone(),
                    accepts: runs[accepts].accepts.clone(),
                    info_req: runs[info].info_req,
                    info_rsp: Vec::new(),
                };
                let is_one = requests == accepts && accepts == info;
                assert_eq!(verify(&key(1), &seen).is_ok(), is_one);
                accepted += usize::from(is_one);
            }
        }
    }
    assert_eq!(accepted, runs.len());
    for asked in 0..runs.len() {
        for (answered, run) in runs.iter().enumerate() {
            let (_, expected) = complete(&key(1), (asked as u8 + 1) * 16);
            let is_own = expected.check(&run.info_rsp).is_ok();
            assert_eq!(is_own, asked == answered);
        }
    }
}

/// One connection of the path is another machine's: the client has another nonce for it, or none.
#[test]
fn a_foreign_connection_is_refused() {
    let (sent, _) = begin(&key(1), 9, 3);
    for foreign in 0..3 {
        let mut seen = sent.clone();
        seen.accepts[foreign][20..52].fill(0xee);
        assert!(verify(&key(1), &seen).is_err());
        let mut seen = sent.clone();
        seen.accepts.swap(foreign, (foreign + 1) % 3);
        assert!(verify(&key(1), &seen).is_err());
        let mut seen = sent.clone();
        seen.requests.remove(foreign);
        seen.accepts.remove(foreign);
        assert!(verify(&key(1), &seen).is_err());
    }
}

/// What a peer proves with cannot be sent back to it as its peer's proof.
#[test]
fn reflected_proofs_are_refused() {
    let (exchange, expected) = begin(&key(1), 9, 3);
    assert_eq!(expected.check(&exchange.info_req), Err(NotProven));
    let (mut exchange, expected) = complete(&key(1), 9);
    let at = exchange.info_rsp.len() - PROOF_SIZE;
    let client = exchange.info_req[AUTH_INFO_REQ_SIZE - PROOF_SIZE..].to_vec();
    let server = exchange.info_rsp[at..].to_vec();
    exchange.info_rsp[at..].copy_from_slice(&client);
    exchange.info_req[AUTH_INFO_REQ_SIZE - PROOF_SIZE..].copy_from_slice(&server);
    assert_eq!(expected.check(&exchange.info_rsp), Err(NotProven));
    assert!(verify(&key(1), &exchange).is_err());
}

#[test]
fn a_downgrade_is_noticed() {
    let nonce = Some(Nonce([1; 32]));
    assert_eq!(agree(true, nonce), Ok(()));
    assert_eq!(agree(false, None), Ok(()));
    assert_eq!(agree(true, None), Err(Disagreement::Refused));
    assert_eq!(agree(false, nonce), Err(Disagreement::NotAsked));

    // The request of a client that asks reads as one that does not after a change of one bit.
    let (exchange, _) = begin(&key(1), 9, 1);
    let mut request = exchange.requests[0];
    assert!(ConnReq::parse(&request).unwrap().auth());
    request[44] ^= 1 << 5;
    assert!(!ConnReq::parse(&request).unwrap().auth());
    // A peer of the C driver neither asks nor agrees.
    let mut accept = exchange.accepts[0];
    accept[16..56].fill(0);
    let Ok(ConnRsp::Accept(accept)) = ConnRsp::parse(&accept) else {
        panic!("an accept");
    };
    assert_eq!(accept.nonce(), None);
}

proptest! {
    /// Whatever an attacker without the key sends, nobody accepts.
    #[test]
    fn proofs_that_were_made_up_are_refused(
        proof in any::<[u8; 32]>(),
        nonce in any::<[u8; 32]>(),
        rest in proptest::collection::vec(any::<u8>(), 32..200),
    ) {
        let (mut exchange, expected) = begin(&key(1), 9, 2);
        exchange.info_req[336..368].copy_from_slice(&nonce);
        exchange.info_req[368..].copy_from_slice(&proof);
        prop_assert!(verify(&key(1), &exchange).is_err());
        prop_assert_eq!(expected.check(&rest), Err(NotProven));
    }

    /// Keys, numbers of connections and nonces do not matter to an honest pair.
    #[test]
    fn honest_pairs_always_accept(
        raw in proptest::collection::vec(any::<u8>(), 16..=64),
        run in any::<u8>(),
        connections in 1_u16..9,
    ) {
        let key = Key(raw);
        let (exchange, expected) = begin(&key, run, connections);
        let info_rsp = respond(verify(&key, &exchange).unwrap());
        prop_assert_eq!(expected.check(&info_rsp), Ok(()));
    }

    #[test]
    fn info_of_a_key_round_trips(name in "[a-z0-9][a-zA-Z0-9_.-]{0,62}", nonce in any::<[u8; 32]>()) {
        let auth = InfoAuth { key: KeyName::new(name.as_bytes()).unwrap(), nonce: Nonce(nonce) };
        let info = InfoReq { name: SessName::new(b"s").unwrap() };
        let message = info.encode_auth(&auth).unwrap();
        prop_assert_eq!(InfoAuth::parse(&message), Ok(auth));
        prop_assert_eq!(InfoReq::parse(&message), Ok(info));
    }
}
