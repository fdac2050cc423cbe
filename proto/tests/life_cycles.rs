// SPDX-License-Identifier: GPL-2.0-only

//! Life of a client's operation and of a server's chunk, through all short
//! sequences of events and between threads.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rnbd_proto::chunk_state::ArrivalAction;
use rnbd_proto::chunk_state::ChunkState;
use rnbd_proto::chunk_state::RequestLocation;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::op_state::EventOutcome;
use rnbd_proto::op_state::OpState;

/// Calls `check` with every sequence of up to `len` numbers below `kinds`.
fn sequences(kinds: usize, len: usize, check: &mut impl FnMut(&[usize])) {
    fn extend(kinds: usize, len: usize, all: &mut Vec<usize>, check: &mut impl FnMut(&[usize])) {
        check(all);
        if all.len() < len {
            for kind in 0..kinds {
                all.push(kind);
                extend(kinds, len, all, check);
                all.pop();
            }
        }
    }
    extend(kinds, len, &mut Vec::new(), check);
}

/// What a [`OpState`] should be, in plain words.
#[derive(Clone, Copy, PartialEq)]
enum Model {
    Idle,
    Held,
    /// Outstanding: hardware, answer, answer being recorded.
    Flying(bool, bool, bool),
}

impl Model {
    /// The outcome of an event that was outstanding, and what is left.
    fn after(wire: bool, answer: bool, recording: bool) -> (EventOutcome, Self) {
        if wire || answer || recording {
            (EventOutcome::Pending, Self::Flying(wire, answer, recording))
        } else {
            (EventOutcome::Last, Self::Held)
        }
    }
}

/// All sequences of eight events: refused when unexpected, last exactly once.
#[test]
fn flight_sequences() {
    sequences(5, 8, &mut |events| {
        let flight = OpState::new();
        let mut model = Model::Idle;
        for event in events {
            match event {
                0 => {
                    assert_eq!(flight.begin(), model == Model::Idle);
                    if model == Model::Idle {
                        model = Model::Held;
                    }
                }
                // The holder's own steps are not for others to try.
                1 if model == Model::Held => {
                    flight.post(AwaitedEvents::SendAndResponse);
                    model = Model::Flying(true, true, false);
                }
                1 => {}
                2 => {
                    let (outcome, next) = match model {
                        Model::Flying(true, a, r) => Model::after(false, a, r),
                        other => (EventOutcome::Refused, other),
                    };
                    assert_eq!(flight.send_completed(), outcome);
                    model = next;
                }
                3 => {
                    let expected = matches!(model, Model::Flying(_, true, _));
                    assert_eq!(flight.begin_response(), expected);
                    if let Model::Flying(wire, true, _) = model {
                        model = Model::Flying(wire, false, true);
                    }
                }
                _ => {
                    let (outcome, next) = match model {
                        Model::Flying(w, a, true) => Model::after(w, a, false),
                        other => (EventOutcome::Refused, other),
                    };
                    assert_eq!(flight.response_recorded(), outcome);
                    model = next;
                }
            }
            // Only an idle operation can be taken.
            let idle = flight.begin();
            if idle {
                flight.release();
            }
            assert_eq!(idle, model == Model::Idle);
        }
    });
}

/// Hardware and several answers race: one of them finishes, one answer counts.
#[test]
fn flight_between_threads() {
    for _ in 0..500 {
        let flight = OpState::new();
        assert!(flight.begin());
        flight.post(AwaitedEvents::SendAndResponse);
        let (last, recorded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = |outcome| {
            if outcome == EventOutcome::Last {
                last.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| count(flight.send_completed()));
            for _ in 0..2 {
                scope.spawn(|| {
                    if flight.begin_response() {
                        recorded.fetch_add(1, Ordering::Relaxed);
                        count(flight.response_recorded());
                    }
                });
            }
        });
        assert_eq!(last.into_inner(), 1);
        assert_eq!(recorded.into_inner(), 1);
        assert!(!flight.begin(), "somebody holds it");
    }
}

/// All sequences of ten events: a chunk serves one request at a time, at most one
/// waits, none is lost.
#[test]
fn turn_sequences() {
    sequences(3, 10, &mut |events| {
        let turn = ChunkState::new();
        // Served, being answered, waiting.
        let (mut served, mut answering, mut waiting) = (false, false, None);
        for (offset, event) in (0u32..).zip(events) {
            let connection = u16::MAX;
            let arrival = RequestLocation { connection, offset };
            match event {
                0 => {
                    let verdict = match (served, answering, waiting) {
                        (false, false, _) => ArrivalAction::Serve,
                        (_, true, None) => ArrivalAction::Wait,
                        _ => ArrivalAction::Violation,
                    };
                    assert_eq!(turn.request_arrived(arrival), verdict);
                    match verdict {
                        ArrivalAction::Serve => served = true,
                        ArrivalAction::Wait => waiting = Some(arrival),
                        ArrivalAction::Violation => {}
                    }
                }
                1 => {
                    assert_eq!(turn.begin_response(), served);
                    answering |= served;
                    served = false;
                }
                _ => {
                    let next = if answering { waiting.take() } else { None };
                    assert_eq!(turn.response_sent(), next);
                    served |= next.is_some();
                    answering = false;
                }
            }
        }
    });
}
