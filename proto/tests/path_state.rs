// SPDX-License-Identifier: GPL-2.0-only

//! Life of a path: every change in every state, all short walks, and threads that
//! pull in different directions.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;
use rnbd_proto::path_state::ClientState;
use rnbd_proto::path_state::ServerState;
use rnbd_proto::path_state::State;
use rnbd_proto::path_state::StateCell;

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

/// A cell that went the shortest way to `state`.
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

/// In every state, every change that the table has works, and no other one.
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

/// All walks of a few steps.
fn walks<S: State + Debug>(steps: usize, path: &mut Vec<S>) {
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
            walks(steps - 1, path);
            path.pop();
        }
    }
}

#[test]
fn all_short_walks() {
    walks::<ClientState>(5, &mut vec![]);
    walks::<ServerState>(6, &mut vec![]);
}

/// What a thread tries: a change to a state, perhaps only from a certain one.
type Try = (Option<Index>, Index);

fn tries() -> impl Strategy<Value = Vec<Vec<Try>>> {
    prop::collection::vec(prop::collection::vec(any::<Try>(), 0..40), 1..4)
}

/// Lets each thread try its changes, and checks that those which worked are, put
/// together, one walk along the table's edges.
fn pull<S: State + Debug + Send + Sync>(table: &[(S, &[S])], threads: &[Vec<Try>]) {
    let cell = StateCell::<S>::new();
    let run = |tries: &[Try]| -> Vec<(S, S)> {
        let change = |(from, next): &Try| {
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
        tries.iter().filter_map(change).collect()
    };
    let edges: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = threads
            .iter()
            .map(|tries| scope.spawn(|| run(tries)))
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
        let left = edges.iter().filter(|(from, _)| from == state).count();
        let entered = edges.iter().filter(|(_, to)| to == state).count();
        let (first, last) = (*state == S::ALL[0], *state == cell.get());
        assert_eq!(entered + usize::from(first), left + usize::from(last));
    }
}

proptest! {
    #[test]
    fn threads_keep_to_the_rules(threads in tries()) {
        pull(&CLIENT, &threads);
        pull(&SERVER, &threads);
    }
}

/// Of threads that try the same change, one makes it.
#[test]
fn one_of_many() {
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
