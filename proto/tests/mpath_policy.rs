// SPDX-License-Identifier: GPL-2.0-only

//! Compares the choice of a path with the sorted list of all usable paths.

use std::cell::RefCell;

use proptest::prelude::*;

use rnbd_proto::mpath_policy::{
    choose,
    MpathPolicy,
    PathLoad, //
};

fn policies() -> impl Strategy<Value = MpathPolicy> {
    prop::sample::select(&MpathPolicy::ALL[..])
}

/// Few different values, so that many are equal, and the extremes.
fn loads() -> impl Strategy<Value = Option<PathLoad>> {
    let inflight = prop_oneof![0..3u32, Just(u32::MAX)];
    let latency_ns = prop_oneof![0..3u64, Just(u64::MAX)];
    prop::option::of(
        (inflight, latency_ns).prop_map(|(inflight, latency_ns)| PathLoad {
            inflight,
            latency_ns,
        }),
    )
}

fn starts() -> impl Strategy<Value = usize> {
    prop_oneof![0..20usize, any::<usize>(), Just(usize::MAX)]
}

proptest! {
    /// A path is chosen whenever one is usable: the first one of the best.
    #[test]
    fn the_first_of_the_best_is_chosen(
        policy in policies(),
        paths in prop::collection::vec(loads(), 0..10),
        start in starts(),
    ) {
        let mut ranked: Vec<_> = (0..paths.len())
            .filter_map(|path| {
                let load = paths[path]?;
                let distance = (path + paths.len() - start % paths.len()) % paths.len();
                let cost = match policy {
                    MpathPolicy::RoundRobin => 0,
                    MpathPolicy::MinInflight => u128::from(load.inflight),
                    // Not measured: after all that were.
                    MpathPolicy::MinLatency if load.latency_ns == 0 => u128::MAX,
                    MpathPolicy::MinLatency => load.latency_ns.into(),
                };
                Some((cost, distance, path))
            })
            .collect();
        ranked.sort_unstable();
        let best = ranked.first().map(|(_, _, path)| *path);
        prop_assert_eq!(choose(policy, paths.len(), start, |path| paths[path]), best);
    }

    /// Each path is visited at most once, and with round-robin none after the chosen one.
    #[test]
    fn paths_are_visited_at_most_once(
        policy in policies(),
        paths in prop::collection::vec(loads(), 1..10),
        start in starts(),
    ) {
        let visited = RefCell::new(Vec::new());
        let chosen = choose(policy, paths.len(), start, |path| {
            visited.borrow_mut().push(path);
            paths[path]
        });
        let visited = visited.into_inner();
        let order: Vec<_> = (0..paths.len())
            .map(|step| (start % paths.len() + step) % paths.len())
            .collect();
        prop_assert!(order.starts_with(&visited));
        if policy == MpathPolicy::RoundRobin && chosen.is_some() {
            prop_assert_eq!(visited.last().copied(), chosen);
        } else {
            prop_assert_eq!(visited.len(), paths.len());
        }
    }

    #[test]
    fn a_parsed_policy_is_parsed_as_printed(text: Vec<u8>) {
        if let Some(policy) = MpathPolicy::parse(&text) {
            prop_assert_eq!(MpathPolicy::parse(policy.to_string().as_bytes()), Some(policy));
        }
    }
}
