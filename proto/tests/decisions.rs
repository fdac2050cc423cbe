// SPDX-License-Identifier: GPL-2.0-only

//! The decisions, against models that are too simple to be wrong.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use rnbd_proto::bitmap;
use rnbd_proto::bitmap::IdMap;
use rnbd_proto::heartbeat::Heartbeat;
use rnbd_proto::heartbeat::HeartbeatAction;
use rnbd_proto::heartbeat::MISSED_MAX;
use rnbd_proto::limits::registrable;
use rnbd_proto::limits::units_touched;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::limits::REGISTRATION_UNIT;
use rnbd_proto::openers::Openers;
use rnbd_proto::reconnect_backoff::parse_max_attempts;
use rnbd_proto::reconnect_backoff::ReconnectBackoff;
use rnbd_proto::reconnect_backoff::DELAY_MS;
use rnbd_proto::reconnect_backoff::FIRST_DELAY_MS;
use rnbd_proto::reconnect_backoff::FIRST_JITTER_MS;
use rnbd_proto::reconnect_backoff::JITTER_MS;
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

    /// A path is given up after exactly as many silent ticks as it should be, and
    /// the latency is that of the last heartbeat that was answered, or what the oldest
    /// unanswered one has taken by the last tick if that is more.
    #[test]
    fn heartbeat(events in prop::collection::vec((0..3u8, 0..10_000u64), 0..100)) {
        let heartbeat = Heartbeat::new();
        let (mut silent, mut now, mut sent, mut latency) = (0, 0, None, 0);
        for (event, pause) in events {
            now += pause;
            match event {
                0 => {
                    let expected = match silent {
                        0 => HeartbeatAction::Send,
                        n if n > MISSED_MAX => HeartbeatAction::Dead,
                        _ => HeartbeatAction::Wait,
                    };
                    prop_assert_eq!(heartbeat.tick(now), expected);
                    if silent <= MISSED_MAX {
                        latency = sent.map_or(latency, |sent| latency.max(now - sent));
                    }
                    if silent == 0 {
                        sent = sent.or(Some(now));
                    }
                    silent += 1;
                }
                1 => {
                    heartbeat.received();
                    silent = 0;
                }
                _ => {
                    heartbeat.acked(now);
                    latency = sent.take().map_or(latency, |sent| now - sent);
                }
            }
            prop_assert_eq!(heartbeat.latency_ns(), latency);
        }
    }

    /// Attempts end at the limit of the day, delays are within their bounds: the first
    /// one is short, and so is each one after an attempt that took long.
    #[test]
    fn backoff(
        limit in -5..20i32,
        steps in prop::collection::vec((0..8u8, -5..20i32, 0..60_000u32, any::<u32>()), 0..60),
    ) {
        let made = ReconnectBackoff::new(limit);
        prop_assert_eq!(made.is_some(), limit >= -1);
        let Some(mut backoff) = made else {
            return Ok(());
        };
        let (mut limit, mut done) = (limit, 0);
        for (step, number, spent, random) in steps {
            match step {
                0 => {
                    backoff.connected();
                    done = 0;
                }
                1 => {
                    let set = backoff.set_limit(number).is_some();
                    prop_assert_eq!(set, number >= -1);
                    limit = if set { number } else { limit };
                }
                _ => {
                    let delay = backoff.next_delay_ms(spent, random);
                    prop_assert_eq!(delay.is_some(), limit == -1 || done < limit);
                    let (least, most) = match done {
                        0 => (FIRST_DELAY_MS, FIRST_DELAY_MS + FIRST_JITTER_MS),
                        _ => (
                            DELAY_MS.saturating_sub(spent).max(FIRST_DELAY_MS),
                            (DELAY_MS + JITTER_MS)
                                .saturating_sub(spent)
                                .max(FIRST_DELAY_MS + FIRST_JITTER_MS),
                        ),
                    };
                    prop_assert!(delay.is_none_or(|ms| (least..=most).contains(&ms)));
                    done += i32::from(delay.is_some());
                }
            }
            prop_assert_eq!(i64::from(backoff.attempts()), i64::from(done));
            prop_assert_eq!(backoff.is_exceeded(), limit != -1 && done > limit);
            prop_assert_eq!(backoff.max_attempts(), limit);
        }
    }

    /// What can be set can be written, and the other way round.
    #[test]
    fn max_attempts(max in prop_oneof![-5..5i32, 9_990..10_010i32, any::<i32>()]) {
        let mut backoff = ReconnectBackoff::new(0).unwrap();
        let valid = (-1..=9999).contains(&max).then_some(max);
        prop_assert_eq!(parse_max_attempts(format!("{max}\n").as_bytes()).ok(), valid);
        prop_assert_eq!(ReconnectBackoff::new(max).map(|made| made.max_attempts()), valid);
        prop_assert_eq!(backoff.set_limit(max).map(|()| backoff.max_attempts()), valid);
    }
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    let heartbeat = Heartbeat::default();
    assert_eq!(heartbeat.tick(u64::MAX - 1), HeartbeatAction::Send);
    heartbeat.acked(5);
    assert_eq!(heartbeat.latency_ns(), 0);
}

#[test]
fn backoff_ends_and_starts_again() {
    let mut backoff = ReconnectBackoff::new(3).unwrap();
    for _ in 0..2 {
        let delays = std::iter::from_fn(|| backoff.next_delay_ms(0, 0)).count();
        assert_eq!((delays, backoff.attempts()), (3, 3));
        backoff.connected();
    }
    // Fewer than were made, then more.
    let _all = std::iter::from_fn(|| backoff.next_delay_ms(0, 0)).count();
    assert!(!backoff.is_exceeded());
    assert_eq!(backoff.set_limit(2), Some(()));
    assert!(backoff.is_exceeded());
    assert_eq!(backoff.next_delay_ms(0, 0), None);
    assert_eq!(backoff.set_limit(4), Some(()));
    assert_eq!(backoff.next_delay_ms(0, 0), Some(DELAY_MS));
    assert_eq!(backoff.next_delay_ms(0, JITTER_MS), None);
    let mut endless = ReconnectBackoff::new(-1).unwrap();
    assert!((0..20_000).all(|i| endless.next_delay_ms(i, i).is_some()));
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
        assert_eq!(most, Some(units_touched(len)), "{len} bytes");
    }
    assert_eq!(units_touched(0), 0);
    assert_eq!(registrable(0), 0);
    assert_eq!(
        registrable(1),
        0,
        "a unit is not enough for one that starts inside of it"
    );
}

proptest! {
    /// What is said to fit does, and no whole unit more.
    #[test]
    fn registers_what_it_says(units in 1..=u32::MAX / REGISTRATION_UNIT) {
        prop_assert!(units_touched(registrable(units)) <= units);
        prop_assert!(units_touched(registrable(units) + REGISTRATION_UNIT) > units);
    }

    /// I/O of whole sectors needs no more units than it is said to touch.
    #[test]
    fn units_suffice_for_sectors(sectors in 0..=u32::MAX >> 9) {
        prop_assert!(registrable(units_touched(sectors << 9)) >= sectors << 9);
    }
}
