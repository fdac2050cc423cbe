// SPDX-License-Identifier: GPL-2.0-only

//! The decisions, against models that are too simple to be wrong.

use proptest::prelude::*;
use rnbd_proto::limits::registrable_bytes;
use rnbd_proto::limits::registration_units;
use rnbd_proto::limits::REGISTRATION_UNIT;
use rnbd_proto::openers::Openers;
use rnbd_proto::wire::rnbd::AccessMode;

/// The table at the head of `access`.
#[test]
fn access_rules() {
    use AccessMode::*;
    let table = [
        (vec![], [true, true, true]),
        (vec![ReadWrite], [true, false, true]),
        (vec![Migration], [true, false, true]),
        (vec![ReadWrite, Migration], [true, false, false]),
        (vec![Migration, Migration], [true, false, false]),
        (vec![ReadOnly, ReadOnly], [true, true, true]),
    ];
    for (present, expected) in table {
        for (mode, allowed) in [ReadOnly, ReadWrite, Migration].into_iter().zip(expected) {
            let mut openers = Openers::new();
            for mode in &present {
                openers.open(*mode).unwrap();
            }
            let got = openers.open(mode);
            assert_eq!(got.is_ok(), allowed, "{present:?} {mode:?}");
            if got.is_ok() {
                openers.close(mode);
            }
            assert_eq!(openers.is_empty(), present.is_empty());
            for mode in &present {
                openers.close(*mode);
            }
            assert!(openers.is_empty());
        }
    }
}

/// By counting, for each place in a unit that data can start at.
#[test]
fn data_touches_no_more_units_than_said() {
    for len in (1..600)
        .chain(3500..4700)
        .chain(8000..8400)
        .chain([126_976, 131_071])
    {
        let most = (0..REGISTRATION_UNIT)
            .map(|start| (start + len).div_ceil(REGISTRATION_UNIT))
            .max();
        assert_eq!(most, Some(registration_units(len)), "{len} bytes");
    }
    assert_eq!(registration_units(0), 0);
    assert_eq!(registrable_bytes(0), 0);
    assert_eq!(
        registrable_bytes(1),
        0,
        "a unit is not enough for one that starts inside of it"
    );
}

proptest! {
    /// What is said to fit does, and no whole unit more.
    #[test]
    fn registers_what_it_says(units in 1..=u32::MAX / REGISTRATION_UNIT) {
        prop_assert!(registration_units(registrable_bytes(units)) <= units);
        prop_assert!(registration_units(registrable_bytes(units) + REGISTRATION_UNIT) > units);
    }

    /// I/O of whole sectors needs no more units than it is said to touch.
    #[test]
    fn units_suffice_for_sectors(sectors in 0..=u32::MAX >> 9) {
        prop_assert!(registrable_bytes(registration_units(sectors << 9)) >= sectors << 9);
    }
}
