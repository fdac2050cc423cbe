// SPDX-License-Identifier: GPL-2.0-only

//! Messages of a broken or hostile peer are refused, for the right reason: RNBD.

use rnbd_proto::{
    async_event::EventCount,
    error::WireError,
    wire::{
        name::DevicePath,
        rnbd::{
            AccessMode,
            BlockOp,
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
        }, //
    }, //
};

/// Returns `bytes` with `new` written over them at `at`.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn rnbd_messages() {
    let parse = |bytes: &[u8]| Message::parse(bytes).err();

    // Responses and unknown types.
    for kind in [1, 3, 8, 255] {
        let mut bytes = [0; 264];
        bytes[0] = kind;
        assert_eq!(parse(&bytes), Some(WireError::MessageType(kind.into())));
    }
    assert_eq!(parse(&[0; 36]), Some(WireError::Version(0)));

    let path = DevicePath::new(b"ram0").unwrap();
    let mode = AccessMode::ReadWrite;
    let open = OpenMsg { mode, path }.encode();
    assert_eq!(parse(&with(&open, 4, &[3])), Some(WireError::AccessMode(3)));
    assert_eq!(parse(&with(&open, 6, &[0])), Some(WireError::Name));
    assert_eq!(parse(&with(&open, 6, b"\n")), Some(WireError::Name));
    assert_eq!(parse(&with(&open, 6, &[b'a'; 255])), None);
    assert_eq!(parse(&with(&open, 6, &[b'a'; 256])), Some(WireError::Name));
    assert_eq!(parse(&with(&open, 6, &[b'a'; 258])), Some(WireError::Name));

    let io = IoMsg::new(DeviceId(1), BlockOp::Write, IoFlags::NONE, 8, 4096, 0)
        .unwrap()
        .encode();
    let io = |at, new: &[u8]| parse(&with(&io, at, new));
    assert_eq!(io(16, &[6]), Some(WireError::Operation(6)));
    assert_eq!(io(16, &[255]), Some(WireError::Operation(255)));
    assert_eq!(io(17, &[0x0f]), None);
    assert_eq!(io(17, &[0x20]), Some(WireError::Flags(0x2000)));
    assert_eq!(io(19, &[0x80]), Some(WireError::Flags(0x8000_0000)));
    assert_eq!(io(20, &[1]), Some(WireError::SectorRange));
    assert_eq!(io(20, &[0, 0]), Some(WireError::SectorRange));
    assert_eq!(io(8, &[0xff; 8]), Some(WireError::SectorRange));
    let end = (1u64 << 55) - 8;
    assert_eq!(io(8, &end.to_le_bytes()), None);
    assert_eq!(
        io(8, &(end + 1).to_le_bytes()),
        Some(WireError::SectorRange)
    );
    // A flush with data, and one with the sector that the C client sends.
    assert_eq!(io(16, &[2]), Some(WireError::SectorRange));
    let mut flush = [0xff; 32];
    flush[..8].copy_from_slice(&[4, 0, 0, 0, 1, 0, 0, 0]);
    flush[16..24].copy_from_slice(&[2, 7, 0, 0, 0, 0, 0, 0]);
    let Ok(Message::Io(flush)) = Message::parse(&flush) else {
        panic!();
    };
    assert_eq!(
        (flush.op(), flush.sector(), flush.len()),
        (BlockOp::Flush, 0, 0)
    );
}

/// Garbage of a C driver after the version is ignored.
#[test]
fn session_info_with_garbage() {
    let features = |bytes: &[u8]| SessInfo::parse(bytes).map(|info| info.features());
    let event_count = |bytes: &[u8]| SessInfoRsp::parse(bytes).map(|rsp| rsp.event_count());
    let ours = SessInfo::OURS.encode();
    let rsp = SessInfo::OURS.respond(EventCount::new(5)).encode();

    assert_eq!(features(&ours), Ok(Features::OURS));
    assert_eq!(event_count(&rsp), Ok(Some(EventCount::new(5))));
    for garbage in [[0xff; 31], [0x01; 31], [0x52; 31]] {
        assert_eq!(features(&with(&ours, 5, &garbage)), Ok(Features::NONE));
        assert_eq!(event_count(&with(&rsp, 5, &garbage)), Ok(None));
    }
    // The magic number, but no known feature.
    assert_eq!(features(&with(&ours, 12, &[0xfc; 4])), Ok(Features::NONE));
    assert_eq!(event_count(&with(&rsp, 12, &[0xfc; 4])), Ok(None));
    // Each known feature alone.
    for (bit, feature) in [(1, Features::ASYNC_EVENTS), (2, Features::DESCRIPTIONS)] {
        assert_eq!(features(&with(&ours, 12, &[bit])), Ok(feature));
    }
    // Known and unknown features, and garbage around them.
    assert_eq!(features(&with(&ours, 12, &[0xff; 4])), Ok(Features::OURS));
    assert_eq!(features(&with(&ours, 5, &[0xff; 3])), Ok(Features::OURS));
    assert_eq!(features(&with(&ours, 16, &[0xff; 20])), Ok(Features::OURS));
    assert_eq!(
        event_count(&with(&rsp, 16, &[0xff; 20])),
        Ok(Some(EventCount::new(u32::MAX)))
    );
}

#[test]
fn open_rsp() {
    let good = OpenRsp {
        device: DeviceId(0),
        geometry: Geometry::new(16, 4096, 4096).unwrap(),
        max_hw_sectors: 0,
        max_write_zeroes_sectors: 0,
        max_discard_sectors: 0,
        discard_granularity: 0,
        discard_alignment: 0,
        max_segments: 0,
        secure_erase: false,
        write_cache: false,
        fua: false,
    };
    let parse = |at, new: &[u8]| OpenRsp::parse(&with(&good.encode(), at, new));
    let bad = Err(WireError::Geometry);

    assert_eq!(parse(0, &[4]), Err(WireError::MessageType(4)));
    assert_eq!(parse(15, &[1]), bad);
    assert_eq!(parse(38, &[0, 0]), bad);
    assert_eq!(parse(38, &[0, 1]), bad);
    assert_eq!(parse(38, &[0, 3]), bad);
    assert_eq!(
        OpenRsp::device_of(&with(&good.encode(), 38, &[0, 3])),
        Some(good.device)
    );
    assert_eq!(OpenRsp::device_of(&with(&good.encode(), 0, &[4])), None);
    // A part of a block at the end is left out.
    for sectors in 16..24 {
        assert_eq!(parse(8, &[sectors]).unwrap().geometry.sectors(), 16);
    }
    // An impossible physical block size is replaced.
    for raw in [[0, 0], [0, 2], [1, 0x10]] {
        let rsp = parse(36, &raw).unwrap();
        assert_eq!(rsp.geometry.physical_block_size(), 4096);
    }
}
