// SPDX-License-Identifier: GPL-2.0-only

//! The decisions, against models that are too simple to be wrong.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use rnbd_proto::bitmap;
use rnbd_proto::bitmap::IdMap;
use rnbd_proto::limits::registrable_bytes;
use rnbd_proto::limits::registration_units;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::limits::REGISTRATION_UNIT;
use rnbd_proto::openers::Openers;
use rnbd_proto::wire::rnbd::AccessMode;

fn id_map(depth: u32) -> IdMap<Vec<AtomicUsize>> {
    let depth = QueueDepth::new(depth).unwrap();
    // All bits set: a new map must not believe what it finds.
    let words = (0..bitmap::words(depth))
        .map(|_| AtomicUsize::new(usize::MAX))
        .collect();
    IdMap::new(depth, words).unwrap()
}

#[test]
fn id_map_gives_each_id_once() {
    for depth in [1, 2, 63, 64, 65, 127, 512, 65535] {
        let map = id_map(depth);
        let ids: BTreeSet<_> = (0..depth).filter_map(|i| map.take(i as usize)).collect();
        assert_eq!(ids.len(), depth as usize);
        assert_eq!(map.taken(), depth as usize);
        assert_eq!(map.take(0), None);
        let last = *ids.last().unwrap();
        assert!(map.is_taken(last) && !map.claim(last));
        assert!(map.put(last) && !map.put(last) && !map.is_taken(last));
        assert_eq!(map.take(usize::MAX), Some(last));
    }
}

#[test]
fn id_map_needs_words_and_knows_its_ids() {
    let depth = QueueDepth::new(65).unwrap();
    assert!(IdMap::new(depth, vec![AtomicUsize::new(0)]).is_none());
    let foreign = QueueDepth::new(512).unwrap().buffer(300).unwrap();
    let map = id_map(65);
    assert!(!map.claim(foreign) && !map.put(foreign) && !map.is_taken(foreign));
}

/// Threads that take and put never hold the same id.
#[test]
fn id_map_between_threads() {
    const DEPTH: u32 = 70;
    let map = id_map(DEPTH);
    let holders: Vec<_> = (0..DEPTH).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (map, holders) = (&map, &holders);
            scope.spawn(move || {
                for round in 0..20_000 {
                    let Some(id) = map.take(thread * 64 + round) else {
                        continue;
                    };
                    let holder = &holders[id.index()];
                    assert_eq!(holder.fetch_add(1, Ordering::Relaxed), 0);
                    assert_eq!(holder.fetch_sub(1, Ordering::Relaxed), 1);
                    assert!(map.put(id));
                }
            });
        }
    });
    assert_eq!(map.taken(), 0);
}

proptest! {
    #[test]
    fn id_map_is_a_set(depth in 1u32..200, steps in prop::collection::vec(any::<(u8, u8)>(), 0..300)) {
        let map = id_map(depth);
        let mut model = BTreeSet::new();
        for (what, raw) in steps {
            let id = QueueDepth::new(depth).unwrap().buffer(u32::from(raw) % depth).unwrap();
            match what % 3 {
                0 => match map.take(raw.into()) {
                    Some(id) => prop_assert!(model.insert(id)),
                    None => prop_assert_eq!(model.len(), depth as usize),
                },
                1 => prop_assert_eq!(map.claim(id), model.insert(id)),
                _ => prop_assert_eq!(map.put(id), model.remove(&id)),
            }
            prop_assert_eq!(map.taken(), model.len());
        }
    }
}

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
