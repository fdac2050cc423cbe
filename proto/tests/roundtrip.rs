// SPDX-License-Identifier: GPL-2.0-only

//! Encoded messages parse to the same value, parsed messages encode to bytes that parse to the
//! same value, and arbitrary bytes are harmless.

use proptest::{
    collection::vec,
    prelude::*, //
};

use rnbd_proto::{
    async_event::EventCount,
    imm::{
        Imm,
        IoReqLayout,
        IoRsp, //
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
            CloseMsg,
            DevInfo,
            DeviceId,
            Geometry,
            IoFlags,
            IoMsg,
            Message,
            OpenMsg,
            OpenRsp,
            SessInfo,
            SessInfoRsp, //
        },
        rtrs::{
            ConnAccept,
            ConnReq,
            ConnRsp,
            DataTransfer,
            InfoReq,
            InfoRsp,
            RequestMsg,
            RkeyRsp,
            SgDesc,
            Uuid, //
        }, //
    }, //
};

fn depth() -> impl Strategy<Value = QueueDepth> {
    (1u32..=65535).prop_map(|n| QueueDepth::new(n).unwrap())
}

/// Returns bytes that are valid as the name of a session.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        any::<u8>().prop_filter("allowed", |b| *b >= 0x20 && ![0x7f, b'/', b'.'].contains(b));
    vec(byte, 1..=255)
}

fn desc() -> impl Strategy<Value = SgDesc> {
    (any::<u64>(), any::<u32>(), 1..=u32::MAX).prop_filter_map("no wrap", |(addr, key, len)| {
        SgDesc::new(addr, key, len).ok()
    })
}

fn transfer() -> impl Strategy<Value = DataTransfer> {
    prop_oneof![
        Just(DataTransfer::ToServer),
        Just(DataTransfer::None),
        (desc(), any::<bool>())
            .prop_map(|(desc, invalidate)| DataTransfer::ToClient { desc, invalidate }),
    ]
}

fn mode() -> impl Strategy<Value = AccessMode> {
    prop_oneof![
        Just(AccessMode::ReadOnly),
        Just(AccessMode::ReadWrite),
        Just(AccessMode::Migration),
    ]
}

fn op() -> impl Strategy<Value = BlockOp> {
    prop_oneof![
        Just(BlockOp::Read),
        Just(BlockOp::Write),
        Just(BlockOp::Flush),
        Just(BlockOp::Discard),
        Just(BlockOp::SecureErase),
        Just(BlockOp::WriteZeroes),
    ]
}

fn flags() -> impl Strategy<Value = IoFlags> {
    vec(
        prop_oneof![
            Just(IoFlags::SYNC),
            Just(IoFlags::FUA),
            Just(IoFlags::PREFLUSH),
            Just(IoFlags::NOUNMAP),
            Just(IoFlags::ATOMIC),
        ],
        0..4,
    )
    .prop_map(|set| set.into_iter().fold(IoFlags::NONE, |all, f| all | f))
}

proptest! {
    #[test]
    fn conn_req(
        count in 1u16..=4096, id: u16, reconnects: u16,
        path: [u8; 16], session: [u8; 16], first: bool, inline_imm: bool, short: bool,
    ) {
        let (path, session) = (Uuid(path), Uuid(session));
        let req = ConnReq::new(id % count, count, reconnects, path, session, first).unwrap();
        let req = req.with_inline_imm(inline_imm).with_short_responses(short);
        prop_assert_eq!(ConnReq::parse(&req.encode()), Ok(req));
    }

    #[test]
    fn conn_rsp(
        depth in 1u32..=65535, shift in 13u32..28, new_rkey: bool, inline_imm: bool, short: bool,
        errno in 1..=511,
    ) {
        if let Ok(limits) = ServerLimits::new(depth, 1 << shift) {
            let accept = ConnAccept::from_limits(limits, new_rkey).unwrap();
            let rsp = ConnRsp::Accept(accept.with_inline_imm(inline_imm).with_short_responses(short));
            prop_assert_eq!(ConnRsp::parse(&rsp.encode()), Ok(rsp));
        }
        let rsp = ConnRsp::Reject(errno);
        prop_assert_eq!(ConnRsp::parse(&rsp.encode()), Ok(rsp));
    }

    #[test]
    fn info_req(name in name()) {
        let req = InfoReq { name: SessName::new(&name).unwrap() };
        let mut buf = [0xff; 300];
        let len = req.encode(&mut buf).unwrap();
        prop_assert_eq!(InfoReq::parse(&buf[..len]), Ok(req));
        prop_assert!(buf[2 + name.len()..len].iter().all(|b| *b == 0));
    }

    #[test]
    fn info_rsp(counts in vec(1u32..20, 1..20), key: u32) {
        const CHUNK: u32 = 8192;
        let depth = QueueDepth::new(counts.iter().sum()).unwrap();
        let layout = IoReqLayout::new(depth, CHUNK).unwrap();
        let descs: Vec<_> = counts
            .iter()
            .zip(0u64..)
            .map(|(n, i)| SgDesc::new(i << 32, key, n * CHUNK).unwrap())
            .collect();
        let mut buf = [0xff; 1024];
        let len = InfoRsp::encode(descs.into_iter(), &mut buf).unwrap();
        let rsp = InfoRsp::parse(&buf[..len], layout).ok().unwrap();
        let expected = counts.iter().zip(0u64..).flat_map(|(n, i)| {
            (0..u64::from(*n)).map(move |k| (i << 32) + k * u64::from(CHUNK))
        });
        let chunks = rsp.chunks().map(|c| c.addr);
        prop_assert!(chunks.eq(expected));
        prop_assert!(rsp.chunks().map(|c| c.id.index()).eq(0..usize::from(depth.get())));
    }

    #[test]
    fn request(data_len in 0u32..1 << 28, usr_len: u16, transfer in transfer()) {
        if let Ok(request) = RequestMsg::new(data_len, usr_len, transfer) {
            let mut buf = [0xff; 24];
            let len = request.encode(&mut buf).unwrap();
            prop_assert_eq!(RequestMsg::parse(&buf[..len], request.offset()), Ok(request));
            prop_assert_eq!(request.data_len(), data_len);
            prop_assert_eq!(request.user_range().len(), usize::from(usr_len));
        }
    }

    /// A message that parses stays within its chunk.
    #[test]
    fn request_of_any_bytes(bytes: [u8; 24], kind in 0u8..5, offset in 0u32..8192) {
        let mut bytes = bytes;
        bytes[..2].copy_from_slice(&[kind, 0]);
        bytes[3] = 0;
        if let Ok(range) = RequestMsg::message_range(offset, 8192) {
            prop_assert!(range.end <= 8192);
            if let Ok(request) = RequestMsg::parse(&bytes[..range.len()], offset) {
                prop_assert!(request.user_range().end <= offset as usize);
                prop_assert!(request.data_len() <= offset);
                if let DataTransfer::ToClient { desc, .. } = request.transfer() {
                    prop_assert!(desc.len() <= request.data_len());
                }
            }
        }
    }

    #[test]
    fn rkey_rsp(depth in depth(), raw: u16, rkey: u32) {
        if let Some(id) = depth.buffer(raw.into()) {
            let rsp = RkeyRsp { id, rkey };
            prop_assert_eq!(RkeyRsp::parse(&rsp.encode(), depth), Ok(rsp));
        }
    }

    /// Each of the 2^32 immediates is invalid or has one meaning.
    #[test]
    fn imm(raw: u32) {
        if let Ok(imm) = Imm::decode(raw) {
            prop_assert_eq!(Imm::decode(imm.encode()), Ok(imm));
        }
    }

    #[test]
    fn io_rsp(depth in depth(), raw: u16, errno in 0..=511, invalidated: bool) {
        if let Some(id) = depth.buffer(raw.into()) {
            let rsp = IoRsp::new(id, errno, invalidated);
            let got = match Imm::decode(Imm::IoRsp(rsp).encode()) {
                Ok(Imm::IoRsp(got)) => got,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(got.id(depth), Ok(id));
            prop_assert_eq!((got.errno(), got.invalidated()), (errno, invalidated));
        }
    }

    /// No failure becomes a success, for any error number.
    #[test]
    fn io_rsp_of_any_errno(errno: i32) {
        let id = QueueDepth::new(1).unwrap().buffer(0).unwrap();
        prop_assert_eq!(IoRsp::new(id, errno, false).errno() == 0, errno == 0);
    }

    #[test]
    fn io_req(depth in depth(), raw: u16, chunk in 1u32..1 << 28, offset: u32) {
        let (Ok(layout), Some(id)) = (IoReqLayout::new(depth, chunk), depth.buffer(raw.into()))
        else {
            return Ok(());
        };
        let offset = offset % chunk;
        let imm = layout.encode(id, offset).unwrap();
        let got = match Imm::decode(imm.encode()) {
            Ok(Imm::IoReq(got)) => got,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(layout.decode(got), Ok((id, offset)));
    }

    #[test]
    fn open(mode in mode(), path in name()) {
        let open = OpenMsg { mode, path: DevicePath::new(&path).unwrap() };
        let bytes = open.encode();
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::Open(open)));
        prop_assert!(bytes[6 + path.len()..].iter().all(|b| *b == 0));
    }

    #[test]
    fn open_rsp(
        ids: (u32, u16), blocks in 0u64..1 << 40, shifts in (9u32..=15, 0u32..=6),
        limits: [u32; 5], has: (bool, bool, bool),
    ) {
        let logical = 1 << shifts.0;
        let physical = logical << shifts.1;
        let sectors = blocks * u64::from(logical / 512);
        let rsp = OpenRsp {
            device: DeviceId(ids.0),
            geometry: Geometry::new(sectors, logical, physical).unwrap(),
            max_hw_sectors: limits[0],
            max_write_zeroes_sectors: limits[1],
            max_discard_sectors: limits[2],
            discard_granularity: limits[3],
            discard_alignment: limits[4],
            max_segments: ids.1,
            secure_erase: has.0,
            write_cache: has.1,
            fua: has.2,
        };
        prop_assert_eq!(OpenRsp::parse(&rsp.encode()), Ok(rsp));
        prop_assert_eq!(rsp.geometry.physical_block_size(), physical.min(32768));
    }

    #[test]
    fn close(id: u32) {
        let close = CloseMsg { device: DeviceId(id) };
        let bytes = close.encode();
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::Close(close)));
        let info = DevInfo { device: DeviceId(id) };
        let bytes = info.encode();
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::DevInfo(info)));
    }

    /// Any client gets a response to its SESS_INFO, without features that it did not offer.
    #[test]
    fn handshake(rest in vec(any::<u8>(), 32), magic: bool, number: u32) {
        let mut bytes = [0, 0, 0, 0].to_vec();
        bytes.extend_from_slice(&rest);
        bytes[4] |= 1;
        if magic {
            bytes[8..12].copy_from_slice(b"RNB+");
        }
        let info = SessInfo::parse(&bytes).unwrap();
        let rsp = info.respond(EventCount::new(number)).encode();
        let parsed = SessInfoRsp::parse(&rsp).unwrap();
        prop_assert_eq!(&parsed.encode(), &rsp);
        let offered = if &bytes[8..12] == b"RNB+" { bytes[12] & 3 } else { 0 };
        let events = offered & 1 != 0;
        prop_assert_eq!(rsp[12], offered);
        prop_assert_eq!(parsed.features(), info.features());
        prop_assert_eq!(parsed.event_count(), events.then_some(EventCount::new(number)));
        prop_assert!(offered != 0 || rsp[5..].iter().all(|b| *b == 0));
        prop_assert!(events || rsp[16..].iter().all(|b| *b == 0));
        prop_assert!(rsp[20..].iter().all(|b| *b == 0));
    }

    #[test]
    fn io(
        id: u32, op in op(), flags in flags(), sector in 0u64..1 << 54,
        count in 0u32..1 << 23, prio: u16,
    ) {
        let count = if op == BlockOp::Flush { 0 } else { count.max(1) };
        let io = IoMsg::new(DeviceId(id), op, flags, sector, count * 512, prio).unwrap();
        let bytes = io.encode();
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::Io(io)));
        prop_assert_eq!(&bytes[26..], &[0; 6]);
    }

    /// A message that parses encodes to bytes that parse to the same message.
    #[test]
    fn message_of_any_bytes(kind in 0u8..8, bytes in vec(any::<u8>(), 4..300)) {
        let mut bytes = bytes;
        bytes[..2].copy_from_slice(&[kind, 0]);
        let Ok(message) = Message::parse(&bytes) else {
            return Ok(());
        };
        let again = match message {
            Message::SessInfo(m) => m.encode().to_vec(),
            Message::Open(m) => m.encode().to_vec(),
            Message::Close(m) => m.encode().to_vec(),
            Message::Io(m) => m.encode().to_vec(),
            Message::DevInfo(m) => m.encode().to_vec(),
            Message::Describe(m) => m.encode().to_vec(),
        };
        prop_assert_eq!(Message::parse(&again), Ok(message));
    }
}
