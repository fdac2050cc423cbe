// SPDX-License-Identifier: GPL-2.0-only

//! States of a path: every change in every state, all short sequences of changes, and threads
//! that attempt different changes.

use std::fmt::Debug;

use proptest::{
    prelude::*,
    sample::Index, //
};

use rnbd_proto::path_state::{
    ClientState,
    ServerState,
    State,
    StateCell, //
};

const CLIENT: [(ClientState, &[ClientState]); 7] = {
    use ClientState::*;
    [
        (Connecting, &[Connected, ConnectingErr, Closing]),
        (ConnectingErr, &[Reconnecting, Closing]),
        (Reconnecting, &[Connecting, Closing]),
        (Connected, &[Reconnecting, Closing]),
        (Closing, &[Closed]),
        (Closed, &[Reconnecting, Dead]),
        (Dead, &[]),
    ]
};

const SERVER: [(ServerState, &[ServerState]); 4] = {
    use ServerState::*;
    [
        (Connecting, &[Connected, Closing]),
        (Connected, &[Closing]),
        (Closing, &[Closed]),
        (Closed, &[]),
    ]
};

/// Returns a cell that took the shortest way to `state`.
fn cell_in<S: State + Debug>(state: S, table: &[(S, &[S])]) -> StateCell<S> {
    let mut ways = vec![vec![S::ALL[0]]];
    let way = loop {
        let way = ways.remove(0);
        let here = *way.last().unwrap();
        if here == state {
            break way;
        }
        let (_, next) = table.iter().find(|(from, _)| *from == here).unwrap();
        ways.extend(next.iter().map(|next| [&way[..], &[*next]].concat()));
    };
    let cell = StateCell::new();
    for pair in way.windows(2) {
        assert_eq!(cell.change(pair[1]), Ok(pair[0]));
    }
    assert_eq!(cell.get(), state);
    cell
}

/// Checks that in every state the changes in the table succeed, and no others.
fn every_change<S: State + Debug>(table: &[(S, &[S])]) {
    assert_eq!(table.len(), S::ALL.len());
    for (now, allowed) in table {
        for next in S::ALL {
            let works = allowed.contains(next);
            assert_eq!(now.may_become(*next), works, "{now:?} {next:?}");

            let cell = cell_in(*now, table);
            assert_eq!(cell.change(*next), if works { Ok(*now) } else { Err(*now) });
            assert_eq!(cell.get(), if works { *next } else { *now });

            for from in S::ALL {
                let cell = cell_in(*now, table);
                let works = works && from == now;
                let changed = cell.change_from(*from, *next);
                assert_eq!(changed, if works { Ok(*now) } else { Err(*now) });
                assert_eq!(cell.get(), if works { *next } else { *now });
            }
        }
    }
}

#[test]
fn every_change_of_a_client() {
    every_change(&CLIENT);
    for state in ClientState::ALL {
        let up = *state == ClientState::Connected;
        assert_eq!(
            state.as_str(),
            if up { "connected" } else { "disconnected" }
        );
    }
}

#[test]
fn every_change_of_a_server() {
    every_change(&SERVER);
}

/// Checks all sequences of `steps` changes.
fn check_sequences<S: State + Debug>(steps: usize, path: &mut Vec<S>) {
    let cell = StateCell::default();
    let mut model = S::ALL[0];
    for next in path.iter() {
        let expected = if model.may_become(*next) {
            Ok(std::mem::replace(&mut model, *next))
        } else {
            Err(model)
        };
        assert_eq!(cell.change(*next), expected);
        assert_eq!(cell.get(), model);
    }
    if steps > 0 {
        for next in S::ALL {
            path.push(*next);
            check_sequences(steps - 1, path);
            path.pop();
        }
    }
}

#[test]
fn all_short_sequences() {
    check_sequences::<ClientState>(5, &mut vec![]);
    check_sequences::<ServerState>(6, &mut vec![]);
}

/// A change that a thread attempts: to a state, perhaps only from a certain one.
type Attempt = (Option<Index>, Index);

fn attempts() -> impl Strategy<Value = Vec<Vec<Attempt>>> {
    prop::collection::vec(prop::collection::vec(any::<Attempt>(), 0..40), 1..4)
}

/// Lets each thread attempt its changes, and checks that the successful ones form one sequence
/// of changes that the table allows.
fn check_threads<S: State + Debug + Send + Sync>(table: &[(S, &[S])], threads: &[Vec<Attempt>]) {
    let cell = StateCell::<S>::new();
    let run = |attempts: &[Attempt]| -> Vec<(S, S)> {
        let change = |(from, next): &Attempt| {
            let next = *next.get(S::ALL);
            let old = match from.map(|from| *from.get(S::ALL)) {
                None => cell.change(next).ok()?,
                Some(from) => {
                    let old = cell.change_from(from, next).ok()?;
                    assert_eq!(old, from);
                    old
                }
            };
            Some((old, next))
        };
        attempts.iter().filter_map(change).collect()
    };
    let edges: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = threads
            .iter()
            .map(|attempts| scope.spawn(|| run(attempts)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    for edge in &edges {
        let known = |(from, to): &(S, &[S])| *from == edge.0 && to.contains(&edge.1);
        assert!(table.iter().any(known), "{edge:?}");
    }
    for state in S::ALL {
        let exits = edges.iter().filter(|(from, _)| from == state).count();
        let entries = edges.iter().filter(|(_, to)| to == state).count();
        let (first, last) = (*state == S::ALL[0], *state == cell.get());
        assert_eq!(entries + usize::from(first), exits + usize::from(last));
    }
}

proptest! {
    #[test]
    fn threads_keep_to_the_rules(threads in attempts()) {
        check_threads(&CLIENT, &threads);
        check_threads(&SERVER, &threads);
    }
}

/// Of several threads that attempt the same change, one succeeds.
#[test]
fn one_of_many_threads_succeeds() {
    for _ in 0..200 {
        let cell = StateCell::new();
        let close = || usize::from(cell.change(ServerState::Closing).is_ok());
        let made: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(close)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(made, 1);
    }
}
