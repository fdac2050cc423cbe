// SPDX-License-Identifier: GPL-2.0-only

//! Messages of a broken or hostile peer are refused, for the right reason: RTRS, and truncated
//! messages of either protocol.

use rnbd_proto::{
    error::{
        WireError,
        EINVAL, //
    },
    imm::{
        Imm,
        IoReqLayout, //
    },
    limits::{
        QueueDepth,
        ServerLimits, //
    },
    wire::{
        name::{
            DevicePath,
            SessName, //
        },
        rnbd::{
            AccessMode,
            BlockOp,
            DeviceId,
            IoFlags,
            IoMsg,
            Message,
            OpenMsg,
            SessInfo, //
        },
        rtrs::{
            ConnReq,
            ConnRsp,
            DataTransfer,
            InfoAuth,
            InfoReq,
            InfoRsp,
            RequestMsg,
            RkeyRsp,
            SgDesc,
            Uuid, //
        }, //
    }, //
};

fn depth(n: u32) -> QueueDepth {
    QueueDepth::new(n).unwrap()
}

/// Returns `bytes` with `new` written over them at `at`.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// A truncated message is refused, at every length, with the lengths as reason.
#[test]
fn truncated() {
    fn check<T>(full: &[u8], min_len: usize, parse: impl Fn(&[u8]) -> Result<T, WireError>) {
        assert!(parse(full).is_ok());
        for len in 0..min_len {
            let got = parse(&full[..len]).err();
            assert!(
                matches!(got, Some(WireError::Short { got, .. }) if got == len),
                "{len}: {got:?}"
            );
        }
    }

    let uuid = Uuid([1; 16]);
    let req = ConnReq::new(0, 3, 0, uuid, uuid, true).unwrap();
    check(&req.encode(), 56, ConnReq::parse);
    check(&ConnRsp::Reject(16).encode(), 56, ConnRsp::parse);

    let mut buf = [0; 272];
    let name = SessName::new(b"s").unwrap();
    InfoReq { name }.encode(&mut buf).unwrap();
    check(&buf, 272, |b| InfoReq::parse(b).map(|_| ()));

    let desc = SgDesc::new(0, 1, 8192).unwrap();
    let len = InfoRsp::encode([desc; 2].into_iter(), &mut buf).unwrap();
    let layout = IoReqLayout::new(depth(2), 8192).unwrap();
    check(&buf[..len], len, |b| InfoRsp::parse(b, layout).map(|_| ()));

    let invalidate = false;
    for transfer in [
        DataTransfer::ToServer,
        DataTransfer::None,
        DataTransfer::ToClient { desc, invalidate },
    ] {
        let len = RequestMsg::new(8192, 32, transfer)
            .unwrap()
            .encode(&mut buf);
        check(&buf[..len.unwrap()], len.unwrap(), |b| {
            RequestMsg::parse(b, 8192 + 32)
        });
    }

    let id = depth(2).buffer(1).unwrap();
    let rkey = RkeyRsp { id, rkey: 1 };
    check(&rkey.encode(), 8, |b| RkeyRsp::parse(b, depth(2)));

    let parse = |b: &[u8]| Message::parse(b).map(|_| ());
    let path = DevicePath::new(b"ram0").unwrap();
    let mode = AccessMode::ReadOnly;
    check(&SessInfo::OURS.encode(), 36, parse);
    check(&OpenMsg { mode, path }.encode(), 264, parse);
    check(&[5, 0, 0, 0, 1, 0, 0, 0], 8, parse);
    check(&[6, 0, 0, 0, 1, 0, 0, 0], 8, parse);
    let io = IoMsg::new(DeviceId(1), BlockOp::Read, IoFlags::NONE, 0, 512, 0).unwrap();
    check(&io.encode(), 24, parse);
}

#[test]
fn connect() {
    let uuid = Uuid([1; 16]);
    let good = ConnReq::new(2, 3, 0, uuid, uuid, false).unwrap().encode();
    let parse = |at, new: &[u8]| ConnReq::parse(&with(&good, at, new)).err();

    assert_eq!(parse(2, &[0, 0]), Some(WireError::Magic(0)));
    assert_eq!(parse(4, &[0, 3]), Some(WireError::Version(0x300)));
    assert_eq!(parse(4, &[9, 2]), None);
    assert_eq!(parse(6, &[3, 0]), Some(WireError::ConnectionId(3)));
    assert_eq!(parse(8, &[0, 0]), Some(WireError::ConnectionCount(0)));
    assert_eq!(parse(8, &[0, 16]), None);
    assert_eq!(parse(8, &[1, 16]), Some(WireError::ConnectionCount(4097)));
    // Reserved bits and bytes, and those of the connection manager, are ignored.
    assert_eq!(parse(0, &[0xff, 0xff]), None);
    assert_eq!(parse(44, &[0xfe; 12]), None);
}

/// Hostile limits of a server (CVE-2024-47695 and similar).
#[test]
fn accept() {
    let mut good = vec![0; 56];
    good[..17].copy_from_slice(&[
        0xbd, 0x1b, 0, 2, 0, 0, 0, 2, 0, 0xf0, 1, 0, 0, 0x10, 0, 0, 2,
    ]);
    let parse = |at, new: &[u8]| ConnRsp::parse(&with(&good, at, new)).err();
    let le = |n: u32| n.to_le_bytes();

    assert_eq!(parse(0, &[]), None);
    assert_eq!(parse(0, &[1]), Some(WireError::Magic(0x1b01)));
    assert_eq!(parse(3, &[1]), Some(WireError::Version(0x100)));
    assert_eq!(parse(6, &[0, 0]), Some(WireError::QueueDepth(0)));
    assert_eq!(
        parse(6, &[0xff, 0xff]),
        Some(WireError::ImmBits { id: 16, offset: 17 })
    );
    assert_eq!(parse(8, &le(0)), Some(WireError::IoSize(0)));
    assert_eq!(parse(8, &le(u32::MAX)), Some(WireError::IoSize(u32::MAX)));
    assert_eq!(parse(12, &le(0)), Some(WireError::HeaderSize(0)));
    assert_eq!(parse(12, &le(511)), Some(WireError::HeaderSize(511)));
    assert_eq!(parse(12, &le(65537)), Some(WireError::HeaderSize(65537)));
    assert_eq!(
        parse(12, &le(u32::MAX)),
        Some(WireError::HeaderSize(u32::MAX))
    );
    // A positive error number, which C does not send, still is an error.
    assert_eq!(
        ConnRsp::parse(&with(&good, 4, &[5, 0])),
        Ok(ConnRsp::Reject(5))
    );
    // A kernel-internal error number is not returned to a program.
    for (errno, expected) in [(511, 511), (512, EINVAL), (4095, EINVAL), (0x8000, EINVAL)] {
        let rejected = ConnRsp::parse(&with(&good, 4, &(-errno as i16).to_le_bytes()));
        assert_eq!(rejected, Ok(ConnRsp::Reject(expected)), "{errno}");
    }
}

#[test]
fn info_req() {
    let mut buf = [0; 272];
    let parse = |name: &[u8]| {
        buf[2..2 + name.len()].copy_from_slice(name);
        let got = InfoReq::parse(&buf).err();
        buf[2..].fill(0);
        got
    };
    let mut parse = parse;
    assert_eq!(parse(b"a"), None);
    assert_eq!(parse(&[b'a'; 255]), None);
    for bad in [
        &b""[..],
        b"a/b",
        b"a.b",
        b"..",
        b"a\nb",
        b"\x7f",
        &[b'a'; 256],
    ] {
        assert_eq!(parse(bad), Some(WireError::Name), "{bad:?}");
    }
    assert_eq!(
        InfoReq::parse(&with(&[0; 272], 0, &[1])),
        Err(WireError::MessageType(1))
    );
}

#[test]
fn info_rsp() {
    let layout = IoReqLayout::new(depth(4), 8192).unwrap();
    let encode = |lens: &[u32]| {
        let mut bytes = vec![1, 0, lens.len() as u8, 0, 0, 0, 0, 0];
        for len in lens {
            bytes.extend([0; 8]);
            bytes.extend([7, 0, 0, 0]);
            bytes.extend(len.to_le_bytes());
        }
        bytes
    };
    let parse = |lens: &[u32]| InfoRsp::parse(&encode(lens), layout).err();

    assert_eq!(parse(&[4 * 8192]), None);
    assert_eq!(parse(&[8192; 4]), None);
    assert_eq!(parse(&[]), Some(WireError::DescriptorCount(0)));
    assert_eq!(parse(&[8192; 5]), Some(WireError::DescriptorCount(5)));
    assert_eq!(parse(&[8192; 3]), Some(WireError::DescriptorCount(3)));
    assert_eq!(
        parse(&[8192, 4 * 8192]),
        Some(WireError::DescriptorLength(4 * 8192))
    );
    assert_eq!(parse(&[8193, 1]), Some(WireError::DescriptorLength(8193)));
    assert_eq!(parse(&[0, 8192]), Some(WireError::DescriptorLength(0)));

    let wrap = with(&encode(&[4 * 8192]), 8, &(u64::MAX - 8191).to_le_bytes());
    assert_eq!(
        InfoRsp::parse(&wrap, layout).err(),
        Some(WireError::DescriptorRange)
    );
    let other = with(&encode(&[4 * 8192]), 0, &[0]);
    assert_eq!(
        InfoRsp::parse(&other, layout).err(),
        Some(WireError::MessageType(0))
    );
}

#[test]
fn request() {
    const CHUNK: u32 = 8192;
    let read = |usr_len: u16, flags: u16, sg_cnt: u16, len: u32| {
        let mut bytes = vec![3, 0];
        bytes.extend(usr_len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(sg_cnt.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(len.to_le_bytes());
        bytes
    };
    let parse = |bytes: &[u8], offset| RequestMsg::parse(bytes, offset).err();

    assert_eq!(parse(&read(32, 1, 1, 512), 544), None);
    // CVE-2026-97413: the user message starts before the chunk.
    assert_eq!(
        parse(&read(33, 1, 1, 1), 32),
        Some(WireError::UserLength {
            len: 33,
            offset: 32
        })
    );
    assert_eq!(
        parse(&[2, 0, 0xff, 0xff], CHUNK - 4),
        Some(WireError::UserLength {
            len: 0xffff,
            offset: CHUNK - 4
        })
    );
    // CVE-2026-64269, and a buffer larger than the data.
    for len in [513, CHUNK + 1, u32::MAX] {
        assert_eq!(
            parse(&read(32, 1, 1, len), 544),
            Some(WireError::DescriptorLength(len))
        );
    }
    assert_eq!(
        parse(&read(32, 1, 1, 0), 544),
        Some(WireError::DescriptorLength(0))
    );
    assert_eq!(
        parse(&read(32, 1, 2, 512), 544),
        Some(WireError::DescriptorCount(2))
    );
    assert_eq!(parse(&read(32, 4, 1, 512), 544), Some(WireError::Flags(4)));
    for kind in [0, 1, 4, 255] {
        assert_eq!(
            parse(&[kind, 0, 0, 0], 64),
            Some(WireError::MessageType(kind.into()))
        );
    }

    // The header must not be read beyond the end of the chunk.
    let range = |offset| RequestMsg::message_range(offset, CHUNK);
    assert_eq!(range(0), Ok(0..24));
    assert_eq!(range(CHUNK - 24), Ok(8168..8192));
    assert_eq!(range(CHUNK - 4), Ok(8188..8192));
    for offset in [CHUNK - 3, CHUNK, CHUNK + 1, u32::MAX] {
        assert_eq!(range(offset), Err(WireError::Offset(offset)));
    }
    // A READ in the space of a WRITE.
    assert_eq!(
        parse(&[3, 0, 0, 0], CHUNK - 4),
        Some(WireError::Short { need: 8, got: 4 })
    );
}

#[test]
fn rkey_rsp() {
    let parse = |bytes: [u8; 8]| RkeyRsp::parse(&bytes, depth(512)).err();
    assert_eq!(parse([4, 0, 0xff, 1, 0, 0, 0, 0]), None);
    assert_eq!(
        parse([4, 0, 0, 2, 0, 0, 0, 0]),
        Some(WireError::MessageId(512))
    );
    assert_eq!(
        parse([3, 0, 0, 0, 0, 0, 0, 0]),
        Some(WireError::MessageType(3))
    );
}

#[test]
fn immediates() {
    for kind in [3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15] {
        assert_eq!(Imm::decode(kind << 28), Err(WireError::ImmType(kind)));
    }
    // No queue has ids of 19 bits.
    let Ok(Imm::IoRsp(rsp)) = Imm::decode((1 << 28) | 0x7ffff) else {
        panic!();
    };
    assert_eq!(rsp.id(depth(65535)), Err(WireError::MessageId(0x7ffff)));
    assert_eq!(rsp.errno(), 0);

    // 500 of 512 ids are valid, and not all offsets.
    let layout = IoReqLayout::new(depth(500), 8192).unwrap();
    let decode = |raw| match Imm::decode(raw) {
        Ok(Imm::IoReq(at)) => layout.decode(at).map(|(id, at)| (id.get(), at)),
        other => panic!("{other:?}"),
    };
    assert_eq!(decode((499 << 19) | 8191), Ok((499, 8191)));
    assert_eq!(decode(500 << 19), Err(WireError::MessageId(500)));
    assert_eq!(decode(8192), Err(WireError::Offset(8192)));
    let foreign = depth(501).buffer(500).unwrap();
    assert_eq!(layout.encode(foreign, 0), Err(WireError::MessageId(500)));
    let id = depth(500).buffer(0).unwrap();
    assert_eq!(layout.encode(id, 8192), Err(WireError::Offset(8192)));
}

#[test]
fn limits() {
    let new = |depth, chunk| ServerLimits::new(depth, chunk).err();
    assert_eq!(new(512, 131072), None);
    assert_eq!(new(1, 8192), None);
    assert_eq!(new(1, 1 << 28), None);
    assert_eq!(new(0, 8192), Some(WireError::QueueDepth(0)));
    assert_eq!(new(65536, 8192), Some(WireError::QueueDepth(65536)));
    assert_eq!(new(512, 4096), Some(WireError::ChunkSize(4096)));
    assert_eq!(new(512, 131073), Some(WireError::ChunkSize(131073)));
    assert_eq!(new(512, 0), Some(WireError::ChunkSize(0)));
    // The largest depth and size that fit, and the smallest that do not.
    assert_eq!(new(4096, 65536), None);
    assert_eq!(
        new(4097, 65536),
        Some(WireError::ImmBits { id: 13, offset: 16 })
    );
    assert_eq!(
        new(4096, 131072),
        Some(WireError::ImmBits { id: 12, offset: 17 })
    );
}

/// Each reason is printed in one line.
#[test]
fn reasons() {
    for reason in [
        WireError::Short { need: 8, got: 3 },
        WireError::Magic(1),
        WireError::Version(0x0305),
        WireError::UserLength { len: 1, offset: 0 },
        WireError::Name,
    ] {
        let text = reason.to_string();
        assert!(!text.is_empty() && !text.contains('\n'));
        assert_eq!(reason.errno(), 22);
    }
    assert_eq!(
        WireError::Version(0x0305).to_string(),
        "unsupported version 3.5"
    );
}

/// The name of a key in INFO_REQ; that its proof is right is checked elsewhere.
#[test]
fn info_req_without_the_name_of_a_key() {
    let good = [0; 400];
    let parse = |name: &[u8]| {
        let message: [u8; 400] = with(&good, 272, name).try_into().unwrap();
        InfoAuth::parse(&message).map(|auth| auth.key.as_bytes().to_vec())
    };
    assert_eq!(parse(b"web1"), Ok(b"web1".to_vec()));
    for name in [&b""[..], b"../web1", b"web 1", b"\nweb1", &[b'x'; 64]] {
        assert_eq!(parse(name), Err(WireError::Name), "{name:?}");
    }
}
