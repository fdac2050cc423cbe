// SPDX-License-Identifier: GPL-2.0-only

//! States of a client's operation and of a server's chunk: all short sequences of events, and
//! threads.

use std::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering, //
};

use rnbd_proto::{
    chunk_state::{
        ArrivalAction,
        ChunkState,
        RequestLocation, //
    },
    op_state::{
        AwaitedEvents,
        EventOutcome,
        OpState,
        ResponseArrival, //
    }, //
};

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

/// A simple model of [`OpState`].
#[derive(Clone, Copy, PartialEq)]
enum Model {
    Idle,
    Held,
    /// Awaited: send completion, response, end of recording the response.
    InFlight(bool, bool, bool),
}

impl Model {
    /// Returns the outcome of an awaited event, and the state with the events still awaited.
    fn after_event(send: bool, response: bool, recording: bool) -> (EventOutcome, Self) {
        if send || response || recording {
            (
                EventOutcome::Pending,
                Self::InFlight(send, response, recording),
            )
        } else {
            (EventOutcome::Last, Self::Held)
        }
    }
}

/// All sequences of eight events: unexpected ones are refused, exactly one is the last.
#[test]
fn op_sequences() {
    sequences(5, 8, &mut |events| {
        let op = OpState::new();
        let mut model = Model::Idle;
        for event in events {
            match event {
                0 => {
                    assert_eq!(op.begin(), model == Model::Idle);
                    if model == Model::Idle {
                        model = Model::Held;
                    }
                }
                // Only the owner may post.
                1 if model == Model::Held => {
                    op.post(AwaitedEvents::SendAndResponse);
                    model = Model::InFlight(true, true, false);
                }
                1 => {}
                2 => {
                    let (outcome, next) = match model {
                        Model::InFlight(true, response, recording) => {
                            Model::after_event(false, response, recording)
                        }
                        other => (EventOutcome::Refused, other),
                    };
                    assert_eq!(op.send_completed(), outcome);
                    model = next;
                }
                3 => {
                    let expected = match model {
                        Model::InFlight(_, true, _) => ResponseArrival::Awaited,
                        _ => ResponseArrival::Refused,
                    };
                    assert_eq!(op.begin_response(), expected);
                    if let Model::InFlight(send, true, _) = model {
                        model = Model::InFlight(send, false, true);
                    }
                }
                _ => {
                    let (outcome, next) = match model {
                        Model::InFlight(send, response, true) => {
                            Model::after_event(send, response, false)
                        }
                        other => (EventOutcome::Refused, other),
                    };
                    assert_eq!(op.response_recorded(), outcome);
                    model = next;
                }
            }
            // Only an idle operation can be taken.
            let idle = op.begin();
            if idle {
                op.release();
            }
            assert_eq!(idle, model == Model::Idle);
        }
    });
}

/// A completion and several responses race: one is the last, and one response is recorded.
#[test]
fn op_in_threads() {
    for _ in 0..500 {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::SendAndResponse);
        let (last, recorded) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let count = |outcome| {
            if outcome == EventOutcome::Last {
                last.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| count(op.send_completed()));
            for _ in 0..2 {
                scope.spawn(|| {
                    if op.begin_response() == ResponseArrival::Awaited {
                        recorded.fetch_add(1, Ordering::Relaxed);
                        count(op.response_recorded());
                    }
                });
            }
        });
        assert_eq!(last.into_inner(), 1);
        assert_eq!(recorded.into_inner(), 1);
        assert!(!op.begin(), "held after the last event");
    }
}

/// A response arrives while the work request is being posted: exactly one of the two finishes the
/// operation, and not before the hardware has taken the work request.
#[test]
fn op_answered_in_threads_while_it_is_posted() {
    for taken in [true, false] {
        for _ in 0..500 {
            let op = OpState::new();
            assert!(op.begin());
            op.post(AwaitedEvents::Response);
            let (posted, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
            let end = |outcome| {
                if outcome == EventOutcome::Last {
                    assert!(posted.load(Ordering::Relaxed), "finished before its post");
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    if op.begin_response() == ResponseArrival::Awaited {
                        end(op.response_recorded());
                    }
                });
                scope.spawn(|| {
                    posted.store(true, Ordering::Relaxed);
                    if taken {
                        end(op.posted());
                    } else if op.cancel_post() {
                        end(EventOutcome::Last);
                    }
                });
            });
            assert_eq!(ended.into_inner(), 1);
            op.release();
            assert!(op.begin());
        }
    }
}

/// An operation is taken over while its response arrives: exactly one of the two ends it.
#[test]
fn op_taken_over_in_threads() {
    for _ in 0..500 {
        let op = OpState::new();
        assert!(op.begin());
        op.post(AwaitedEvents::Response);
        assert_eq!(op.posted(), EventOutcome::Pending);
        let ended = AtomicUsize::new(0);
        let end = || {
            ended.fetch_add(1, Ordering::Relaxed);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| match op.begin_response() {
                ResponseArrival::Awaited => {
                    if op.response_recorded() == EventOutcome::Last {
                        end();
                    }
                }
                ResponseArrival::Owed => op.owed_recorded(),
                ResponseArrival::Refused => panic!("the response was lost"),
            });
            scope.spawn(|| {
                if op.take_over() {
                    op.post(AwaitedEvents::Send);
                    assert_eq!(op.send_completed(), EventOutcome::Last);
                    if !op.park() {
                        end();
                    }
                }
            });
        });
        assert_eq!(ended.into_inner(), 1);
        op.release();
        assert!(op.begin(), "nothing is owed any more");
    }
}

/// All sequences of ten events: a chunk serves one request at a time, at most one waits, and
/// none is lost.
#[test]
fn chunk_sequences() {
    sequences(3, 10, &mut |events| {
        let chunk = ChunkState::new();
        // A request is served, a response is sent, a request waits.
        let (mut serving, mut responding, mut waiting) = (false, false, None);
        for (offset, event) in (0u32..).zip(events) {
            let connection = u16::MAX;
            let location = RequestLocation { connection, offset };
            match event {
                0 => {
                    let action = match (serving, responding, waiting) {
                        (false, false, _) => ArrivalAction::Serve,
                        (_, true, None) => ArrivalAction::Wait,
                        _ => ArrivalAction::Violation,
                    };
                    assert_eq!(chunk.request_arrived(location), action);
                    match action {
                        ArrivalAction::Serve => serving = true,
                        ArrivalAction::Wait => waiting = Some(location),
                        ArrivalAction::Violation => {}
                    }
                }
                1 => {
                    assert_eq!(chunk.begin_response(), serving);
                    responding |= serving;
                    serving = false;
                }
                _ => {
                    let next = if responding { waiting.take() } else { None };
                    assert_eq!(chunk.response_sent(), next);
                    serving |= next.is_some();
                    responding = false;
                }
            }
        }
    });
}
