// SPDX-License-Identifier: GPL-2.0-only

//! DESCRIBE and its response: bytes, round trips, growth, and what is refused or left out.

use proptest::{
    collection::vec,
    prelude::*, //
};

use rnbd_proto::{
    error::WireError,
    wire::rnbd::{
        AtomicWrites,
        DescribeMsg,
        Description,
        DeviceFlags,
        DeviceId,
        Generation,
        Geometry,
        Identity,
        IdentityKind,
        Message,
        OpenRsp,
        Zones,
        DESCRIBE_RSP_SIZE, //
    }, //
};

/// Returns a description in which each field has another value.
fn description() -> Description {
    Description {
        generation: Generation::new(0x0102_0304),
        flags: DeviceFlags::WRITE_CACHE.with(DeviceFlags::ROTATIONAL, true),
        geometry: Geometry::new(0x11_2233_4450, 512, 4096).unwrap(),
        io_min: 0x2122_2324,
        io_opt: 0x3132_3334,
        alignment_offset: 0x4142_4344,
        max_transfer_sectors: 0x5152_5354,
        max_segments: 0x6162_6364,
        max_discard_sectors: 0x7172_7374,
        discard_granularity: 0x8182_8384,
        discard_alignment: 0x9192_9394,
        max_secure_erase_sectors: 0xa1a2_a3a4,
        max_write_zeroes_sectors: 0xb1b2_b3b4,
        max_write_zeroes_unmap_sectors: 0xc1c2_c3c4,
        zones: Zones {
            zone_sectors: 0xd1d2_d3d4,
            max_open: 0xe1e2_e3e4,
            max_active: 0xf1f2_f3f4,
            max_append_sectors: 0x0506_0708,
        },
        atomic_writes: AtomicWrites::new(512, 4096, 8192, 16384),
        partition: 0x1516_1718,
        identity: Identity::new(IdentityKind::Naa, &[0x50, 0x0c, 0x29]),
    }
}

fn encode(description: &Description) -> Vec<u8> {
    let rsp = description.encode(usize::MAX).unwrap();
    rsp.as_bytes().to_vec()
}

/// Returns `bytes` with `new` written over them at `at`.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn golden() {
    let msg = DescribeMsg {
        device: DeviceId(0x1122_3344),
        applied: Generation::new(0x5566_7788),
    };
    let golden = [7, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55];
    assert_eq!(msg.encode(), golden);
    assert_eq!(Message::parse(&golden), Ok(Message::Describe(msg)));

    let words: [u32; 27] = [
        0x0000_0008,
        0x00b4_0001,
        0x0102_0304,
        0x0000_0009,
        0x2233_4450,
        0x0000_0011,
        512,
        4096,
        0x2122_2324,
        0x3132_3334,
        0x4142_4344,
        0x5152_5354,
        0x6162_6364,
        0x7172_7374,
        0x8182_8384,
        0x9192_9394,
        0xa1a2_a3a4,
        0xb1b2_b3b4,
        0xc1c2_c3c4,
        0xd1d2_d3d4,
        0xe1e2_e3e4,
        0xf1f2_f3f4,
        0x0506_0708,
        512,
        4096,
        8192,
        16384,
    ];
    let tail = [0x18, 0x17, 0x16, 0x15, 3, 3, 0, 0, 0x50, 0x0c, 0x29];
    let mut golden: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    golden.extend(tail);
    golden.resize(DESCRIBE_RSP_SIZE, 0);
    assert_eq!(encode(&description()), golden);
    assert_eq!(Description::parse(&golden), Ok(description()));
}

/// A newer server tells more: it is ignored, also what follows in the buffer of the client.
#[test]
fn more_fields_are_ignored() {
    let mut bytes = encode(&description());
    bytes.extend([0xff; 40]);
    assert_eq!(Description::parse(&bytes), Ok(description()));
    for longer in [181, 184, 220] {
        let bytes = with(&bytes, 6, &[longer, 0]);
        assert_eq!(Description::parse(&bytes), Ok(description()));
    }
    let longer = with(&bytes, 6, &[221, 0]);
    let short = WireError::Short {
        need: 221,
        got: 220,
    };
    assert_eq!(Description::parse(&longer), Err(short));
}

/// An older server tells less, and a server tells an older client less: defaults.
#[test]
fn missing_fields_have_defaults() {
    let all = description();
    let bytes = encode(&all);
    for len in 28..=DESCRIBE_RSP_SIZE {
        let shorter = with(&bytes, 6, &[len as u8, 0]);
        let parsed = Description::parse(&shorter).unwrap();
        let cut = all.encode(len).unwrap();
        assert_eq!(Description::parse(cut.as_bytes()), Ok(parsed), "{len}");
        assert!(cut.as_bytes().len() <= len);

        let told = |end: usize, value: u32| if len >= end { value } else { 0 };
        let geometry = |physical| Geometry::new(0x11_2233_4450, 512, physical).unwrap();
        assert_eq!(parsed.generation, all.generation);
        assert_eq!(parsed.flags, all.flags);
        assert_eq!(parsed.geometry, geometry(told(32, 4096)));
        assert_eq!(parsed.io_min, told(36, all.io_min));
        assert_eq!(parsed.io_opt, told(40, all.io_opt));
        assert_eq!(
            parsed.max_write_zeroes_unmap_sectors,
            told(76, all.max_write_zeroes_unmap_sectors)
        );
        assert_eq!(
            parsed.zones.max_append_sectors,
            told(92, all.zones.max_append_sectors)
        );
        assert_eq!(parsed.atomic_writes.is_some(), len >= 104);
        assert_eq!(parsed.partition, told(112, all.partition));
        assert_eq!(parsed.identity.is_some(), len >= 116);
    }
}

#[test]
fn malformed() {
    let good = encode(&description());
    let parse = |bytes: &[u8]| Description::parse(bytes).map(drop);
    let changed = |at, new: &[u8]| parse(&with(&good, at, new));

    assert_eq!(changed(0, &[3]), Err(WireError::MessageType(3)));
    assert_eq!(changed(4, &[0]), Err(WireError::Version(0)));
    assert_eq!(changed(4, &[2]), Err(WireError::Version(2)));
    let short = |need, got| Err(WireError::Short { need, got });
    assert_eq!(parse(&good[..7]), short(8, 7));
    assert_eq!(parse(&good[..100]), short(180, 100));
    assert_eq!(changed(6, &[0]), short(28, 0));
    assert_eq!(changed(6, &[27]), short(28, 27));
    assert_eq!(changed(6, &[28]), Ok(()));
    // Block sizes and sizes that no device has.
    for at in [24, 25, 26, 27] {
        assert_eq!(changed(at, &[0xff]), Err(WireError::Geometry));
    }
    assert_eq!(changed(23, &[0xff]), Err(WireError::Geometry));
    // A response that the server cannot send.
    for space in 0..28 {
        let need = 28;
        let no_room = WireError::NoRoom { need, got: space };
        assert_eq!(description().encode(space).err(), Some(no_room));
    }
    for len in 0..12 {
        let msg = DescribeMsg {
            device: DeviceId(1),
            applied: Generation::NONE,
        };
        let bytes = msg.encode();
        let got = Message::parse(&bytes[..len]);
        assert!(matches!(got, Err(WireError::Short { .. })), "{got:?}");
    }
    // A response is no message to the server.
    let got = Message::parse(&good);
    assert_eq!(got, Err(WireError::MessageType(8)));
}

#[test]
fn nonsense_hints_are_left_out() {
    let good = encode(&description());
    let changed = |at, new: &[u8]| Description::parse(&with(&good, at, new)).unwrap();

    // Units that are no powers of two, and an identity of an unknown kind or length.
    assert_eq!(changed(92, &[1]).atomic_writes, None);
    assert_eq!(changed(96, &[0, 0x30]).atomic_writes, None);
    assert_eq!(changed(112, &[99]).identity, None);
    assert_eq!(changed(113, &[65]).identity, None);
    assert_eq!(changed(113, &[0]).identity, None);
    // Bytes after the identity, and flags that are not known.
    assert_eq!(changed(120, &[0xff]), description());
    assert_eq!(changed(15, &[0xff]), description());
    // An impossible physical block is replaced.
    let geometry = changed(28, &[0, 0]).geometry;
    assert_eq!(geometry.physical_block_size(), 512);
}

/// What a server without the feature tells is described the same way.
#[test]
fn of_an_open_response() {
    let rsp = OpenRsp {
        device: DeviceId(7),
        geometry: Geometry::new(2048, 512, 4096).unwrap(),
        max_hw_sectors: 256,
        max_write_zeroes_sectors: 1,
        max_discard_sectors: 2,
        discard_granularity: 3,
        discard_alignment: 4,
        max_segments: 128,
        secure_erase: true,
        write_cache: true,
        fua: false,
    };
    let description = Description::from(&rsp);
    assert_eq!(description.generation, Generation::NONE);
    assert_eq!(description.geometry, rsp.geometry);
    assert_eq!(description.flags, DeviceFlags::WRITE_CACHE);
    assert_eq!((description.io_min, description.io_opt), (0, 0));
    assert_eq!(description.open_rsp(rsp.device), rsp);
    assert_eq!(description.max_secure_erase_sectors, 2);
    assert_eq!(description.max_write_zeroes_unmap_sectors, 0);
    assert_eq!(description.identity, None);

    let unlimited = OpenRsp {
        max_discard_sectors: 0,
        ..rsp
    };
    let description = Description::from(&unlimited);
    assert_eq!(description.max_secure_erase_sectors, u32::MAX / 512);
    let without = OpenRsp {
        secure_erase: false,
        ..rsp
    };
    let description = Description::from(&without);
    assert_eq!(description.max_secure_erase_sectors, 0);
}

/// A client that does not know that the server writes zeroes sends them itself.
#[test]
fn an_open_response_has_no_write_zeroes_of_the_server() {
    let device = Description {
        flags: DeviceFlags::ZEROES_WRITTEN,
        ..description()
    };
    let rsp = device.open_rsp(DeviceId(1));
    assert_eq!(rsp.max_write_zeroes_sectors, 0);
    let rsp = description().open_rsp(DeviceId(1));
    assert_eq!(rsp.max_write_zeroes_sectors, 0xb1b2_b3b4);
    assert_eq!(rsp.max_segments, u16::MAX);
}

#[test]
fn the_generation_changes_with_anything_else() {
    let first = Description {
        generation: Generation::FIRST,
        ..description()
    };
    let same = description().after(&first);
    assert_eq!(same, first);
    for changed in [
        Description {
            partition: 0,
            ..description()
        },
        Description {
            flags: DeviceFlags::NONE,
            ..description()
        },
        Description {
            geometry: Geometry::new(8, 512, 4096).unwrap(),
            ..description()
        },
    ] {
        let after = changed.after(&first);
        assert_eq!(after.generation, Generation::FIRST.next());
        assert_eq!(after.after(&first), after);
        assert_eq!(changed.after(&after), after);
    }
}

proptest! {
    #[test]
    fn message(device: u32, applied: u32) {
        let msg = DescribeMsg { device: DeviceId(device), applied: Generation::new(applied) };
        let bytes = msg.encode();
        prop_assert_eq!(Message::parse(&bytes), Ok(Message::Describe(msg)));
    }

    /// Any fields: what parses encodes to bytes that parse to the same description.
    #[test]
    fn any_fields(bytes in vec(any::<u8>(), 180), layout in 0u8..3, length in 0u8..=190) {
        let bytes = with(&bytes, 0, &[8, 0]);
        let bytes = with(&bytes, 4, &[layout, 0, length, 0]);
        // Block sizes that are possible, as few numbers are.
        let bytes = with(&bytes, 22, &[0, 0, 0, 2, 0, 0]);
        match Description::parse(&bytes) {
            Ok(description) => {
                prop_assert!(layout == 1 && (28..=180).contains(&length));
                prop_assert_eq!(Description::parse(&encode(&description)), Ok(description));
            }
            Err(_) => prop_assert!(layout != 1 || !(28..=180).contains(&length)),
        }
    }
}
