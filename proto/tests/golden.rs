// SPDX-License-Identifier: GPL-2.0-only

//! Compares messages, byte by byte, with the structs of `rtrs-pri.h` and `rnbd-proto.h` that a C
//! program filled with the same values.

use rnbd_proto::{
    async_event::EventCount,
    imm::{
        split_inline_imm,
        Imm,
        IoReqLayout,
        IoRsp,
        INLINE_IMM_SIZE, //
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
            Features,
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
            NextKey,
            RequestMsg,
            RkeyRsp,
            SgDesc,
            Uuid, //
        }, //
    }, //
};

/// Returns the bytes of `digits`, padded with zeroes to `len`.
fn bytes(digits: &str, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect();
    bytes.resize(len, 0);
    bytes
}

fn counting_uuid(from: u8) -> Uuid {
    Uuid(core::array::from_fn(|i| from + i as u8))
}

#[test]
fn conn_req() {
    let golden = bytes(
        "0000bd1b0002030005000700101112131415161718191a1b1c1d1e1f\
         202122232425262728292a2b2c2d2e2f01",
        56,
    );
    let req = ConnReq::new(3, 5, 7, counting_uuid(0x10), counting_uuid(0x20), true).unwrap();
    assert_eq!(req.encode()[..], golden);
    assert_eq!(ConnReq::parse(&golden), Ok(req));
    assert!(!req.inline_imm(), "not requested by default");

    let with_inline_imm = req.with_inline_imm(true);
    assert_eq!(with_inline_imm.encode()[44], 0x81);
    assert_eq!(
        ConnReq::parse(&with_inline_imm.encode()),
        Ok(with_inline_imm)
    );

    let short = req.with_short_responses(true);
    assert_eq!(short.encode()[44], 0x41);
    assert_eq!(ConnReq::parse(&short.encode()), Ok(short));

    let eager = short.with_eager(true);
    assert_eq!(eager.encode()[44], 0x51);
    assert_eq!(ConnReq::parse(&eager.encode()), Ok(eager));
}

#[test]
fn inline_imm() {
    // A response with error 5 to the request with id 3, as an inline immediate, and more bytes.
    let bytes = [0x10, 0x28, 0x00, 0x03, 4, 0];
    let imm = Imm::IoRsp(IoRsp::new(
        QueueDepth::new(8).unwrap().buffer(3).unwrap(),
        5,
        false,
    ));
    assert_eq!(imm.encode().to_be_bytes(), bytes[..INLINE_IMM_SIZE]);
    assert_eq!(
        split_inline_imm(&bytes),
        Some((imm.encode(), &bytes[INLINE_IMM_SIZE..]))
    );
    assert_eq!(
        split_inline_imm(&bytes[..INLINE_IMM_SIZE]),
        Some((imm.encode(), &[][..]))
    );
    assert_eq!(split_inline_imm(&bytes[..INLINE_IMM_SIZE - 1]), None);
}

#[test]
fn conn_rsp() {
    let golden = bytes("bd1b000200000002000002000010000002", 56);
    let limits = ServerLimits::new(512, 128 * 1024).unwrap();
    let rsp = ConnRsp::Accept(ConnAccept::from_limits(limits, true).unwrap());
    assert_eq!(rsp.encode()[..], golden);
    assert_eq!(ConnRsp::parse(&golden), Ok(rsp));

    // As the C server says it, whose chunks have the space for headers within.
    let golden = bytes("bd1b00020000000200f001000010000002", 56);
    match ConnRsp::parse(&golden) {
        Ok(ConnRsp::Accept(accept)) => {
            assert_eq!(
                (accept.max_io_size(), accept.chunk_size()),
                (126_976, 131_072)
            );
        }
        other => panic!("{other:?}"),
    }

    let accept = ConnAccept::from_limits(limits, true)
        .unwrap()
        .with_inline_imm(true);
    let rsp = ConnRsp::Accept(accept);
    assert_eq!(rsp.encode()[16..20], [2, 0, 0, 0x80]);
    assert_eq!(ConnRsp::parse(&rsp.encode()), Ok(rsp));

    for (new_rkey, key, short_key) in [
        (true, NextKey::Sent, NextKey::Stepped),
        (false, NextKey::Same, NextKey::Same),
    ] {
        let accept = ConnAccept::from_limits(limits, new_rkey).unwrap();
        assert_eq!(accept.next_key(), key, "as in the C drivers");
        let accept = accept.with_short_responses(true);
        assert_eq!(accept.next_key(), short_key);
        let rsp = ConnRsp::Accept(accept);
        assert_eq!(
            rsp.encode()[16..20],
            [if new_rkey { 2 } else { 0 }, 0, 0, 0x40]
        );
        assert_eq!(ConnRsp::parse(&rsp.encode()), Ok(rsp));
        let rsp = ConnRsp::Accept(accept.with_eager(true));
        assert_eq!(rsp.encode()[19], 0x50);
        assert_eq!(ConnRsp::parse(&rsp.encode()), Ok(rsp));
    }

    let golden = bytes("bd1b000298ff", 56);
    let rsp = ConnRsp::Reject(104);
    assert_eq!(rsp.encode()[..], golden);
    assert_eq!(ConnRsp::parse(&golden), Ok(rsp));
}

#[test]
fn info() {
    let golden = bytes("0000626c7961", 272);
    let req = InfoReq {
        name: SessName::new(b"blya").unwrap(),
    };
    let mut buf = [0xff; 272];
    assert_eq!(req.encode(&mut buf), Ok(272));
    assert_eq!(buf[..], golden);
    assert_eq!(InfoReq::parse(&golden), Ok(req));

    let golden = bytes(
        "01000200000000008877665544332211a4a3a2a100000200\
         00ffeeddccbbaa99b4b3b2b100000200",
        40,
    );
    let descs = [
        SgDesc::new(0x1122_3344_5566_7788, 0xa1a2_a3a4, 0x20000).unwrap(),
        SgDesc::new(0x99aa_bbcc_ddee_ff00, 0xb1b2_b3b4, 0x20000).unwrap(),
    ];
    let mut buf = [0xff; 64];
    assert_eq!(InfoRsp::encode(descs.into_iter(), &mut buf), Ok(40));
    assert_eq!(buf[..40], golden);

    let layout = IoReqLayout::new(QueueDepth::new(2).unwrap(), 0x20000).unwrap();
    let rsp = InfoRsp::parse(&golden, layout).ok().unwrap();
    let chunks: Vec<_> = rsp.chunks().map(|c| (c.id.get(), c.addr, c.rkey)).collect();
    assert_eq!(
        chunks,
        [
            (0, 0x1122_3344_5566_7788, 0xa1a2_a3a4),
            (1, 0x99aa_bbcc_ddee_ff00, 0xb1b2_b3b4)
        ]
    );
}

/// A server that does not invalidate keys covers many chunks with one descriptor.
#[test]
fn info_rsp_of_several_chunks() {
    let desc = SgDesc::new(0x10000, 7, 3 * 8192).unwrap();
    let last = SgDesc::new(0x90000, 8, 8192).unwrap();
    let mut buf = [0; 64];
    let len = InfoRsp::encode([desc, last].into_iter(), &mut buf).unwrap();
    let layout = IoReqLayout::new(QueueDepth::new(4).unwrap(), 8192).unwrap();
    let rsp = InfoRsp::parse(&buf[..len], layout).ok().unwrap();
    let chunks: Vec<_> = rsp.chunks().map(|c| (c.addr, c.rkey)).collect();
    assert_eq!(
        chunks,
        [(0x10000, 7), (0x12000, 7), (0x14000, 7), (0x90000, 8)]
    );
}

#[test]
fn request() {
    let desc = SgDesc::new(0x1122_3344_5566_7788, 0xa1a2_a3a4, 4096).unwrap();
    let to_client = DataTransfer::ToClient {
        desc,
        invalidate: true,
    };
    let cases = [
        (
            "03002000010001008877665544332211a4a3a2a100100000",
            4096,
            to_client,
        ),
        ("0300200000000000", 0, DataTransfer::None),
        ("02002000", 4096, DataTransfer::ToServer),
    ];
    for (digits, data_len, transfer) in cases {
        let golden = bytes(digits, digits.len() / 2);
        let request = RequestMsg::new(data_len, 32, transfer).unwrap();
        let mut buf = [0xff; 24];
        assert_eq!(request.encode(&mut buf), Ok(golden.len()));
        assert_eq!(buf[..golden.len()], golden);
        assert_eq!(RequestMsg::parse(&golden, data_len + 32), Ok(request));
        assert_eq!(request.user_range().len(), 32);
    }
}

#[test]
fn rkey_rsp() {
    let golden = bytes("0400ff01a4a3a2a1", 8);
    let depth = QueueDepth::new(512).unwrap();
    let rsp = RkeyRsp {
        id: depth.buffer(511).unwrap(),
        rkey: 0xa1a2_a3a4,
    };
    assert_eq!(rsp.encode()[..], golden);
    assert_eq!(RkeyRsp::parse(&golden, depth), Ok(rsp));
}

#[test]
fn sess_info() {
    // As sent by the C client and by the C server.
    let golden = bytes("0000000002", 36);
    let info = SessInfo::parse(&golden).unwrap();
    assert_eq!(info.features(), Features::NONE);
    assert_eq!(info.encode()[..], golden);
    let golden = bytes("0100000002", 36);
    assert_eq!(info.respond(EventCount::new(7)).encode()[..], golden);
    let rsp = SessInfoRsp::parse(&golden).unwrap();
    assert_eq!(rsp.event_count(), None);

    // With features beyond the C drivers.
    let golden = bytes("0000000002000000524e422b03", 36);
    assert_eq!(SessInfo::OURS.encode()[..], golden);
    assert_eq!(
        Message::parse(&golden),
        Ok(Message::SessInfo(SessInfo::OURS))
    );
    let golden = bytes("0100000002000000524e422b0300000004030201", 36);
    let rsp = SessInfo::OURS.respond(EventCount::new(0x0102_0304));
    assert_eq!(rsp.encode()[..], golden);
    assert_eq!(SessInfoRsp::parse(&golden), Ok(rsp));
    assert_eq!(rsp.event_count(), Some(EventCount::new(0x0102_0304)));
    assert_eq!(rsp.features(), Features::OURS);

    // As earlier versions of this implementation sent it.
    let golden = bytes("0000000002000000524e422b01", 36);
    let info = SessInfo::parse(&golden).unwrap();
    assert_eq!(info.features(), Features::ASYNC_EVENTS);
    assert_eq!(info.respond(EventCount::NONE).encode()[12], 1);
}

#[test]
fn dev_info() {
    let golden = bytes("0600000044332211", 8);
    let info = DevInfo {
        device: DeviceId(0x1122_3344),
    };
    assert_eq!(info.encode()[..], golden);
    assert_eq!(Message::parse(&golden), Ok(Message::DevInfo(info)));
}

#[test]
fn heartbeat() {
    assert_eq!(Imm::Heartbeat(EventCount::NONE).encode(), 0x8000_0000);
    assert_eq!(Imm::HeartbeatAck.encode(), 0x9000_0000);
    let raw = Imm::Heartbeat(EventCount::new(0x0abc_def0)).encode();
    assert_eq!(raw, 0x8abc_def0);
    assert_eq!(
        Imm::decode(raw),
        Ok(Imm::Heartbeat(EventCount::new(0x0abc_def0)))
    );
    assert_eq!(Imm::decode(0x9abc_def0), Ok(Imm::HeartbeatAck));
}

#[test]
fn open() {
    let golden = bytes("0200000002002f6465762f72616d30", 264);
    let open = OpenMsg {
        mode: AccessMode::Migration,
        path: DevicePath::new(b"/dev/ram0").unwrap(),
    };
    assert_eq!(open.encode()[..], golden);
    assert_eq!(Message::parse(&golden), Ok(Message::Open(open)));

    let golden = bytes(
        "030000000403020150443322110000002423222134333231444342415453525164636261\
         00100002727101000003",
        56,
    );
    let rsp = OpenRsp {
        device: DeviceId(0x0102_0304),
        geometry: Geometry::new(0x11_2233_4450, 512, 4096).unwrap(),
        max_hw_sectors: 0x2122_2324,
        max_write_zeroes_sectors: 0x3132_3334,
        max_discard_sectors: 0x4142_4344,
        discard_granularity: 0x5152_5354,
        discard_alignment: 0x6162_6364,
        max_segments: 0x7172,
        secure_erase: true,
        write_cache: true,
        fua: true,
    };
    assert_eq!(rsp.encode()[..], golden);
    assert_eq!(OpenRsp::parse(&golden), Ok(rsp));
}

#[test]
fn io_and_close() {
    let device = DeviceId(0x0102_0304);
    let golden = bytes("0400000004030201665544332211000001030000001001000460", 32);
    let flags = IoFlags::SYNC | IoFlags::FUA;
    let io = IoMsg::new(
        device,
        BlockOp::Write,
        flags,
        0x1122_3344_5566,
        0x11000,
        0x6004,
    )
    .unwrap();
    assert_eq!(io.encode()[..], golden);
    assert_eq!(Message::parse(&golden), Ok(Message::Io(io)));

    // Protocol 1 had no priority.
    let io = IoMsg::new(device, BlockOp::Write, flags, 0x1122_3344_5566, 0x11000, 0).unwrap();
    assert_eq!(Message::parse(&golden[..24]), Ok(Message::Io(io)));

    let golden = bytes("0500000004030201", 8);
    let close = CloseMsg { device };
    assert_eq!(close.encode()[..], golden);
    assert_eq!(Message::parse(&golden), Ok(Message::Close(close)));
}
