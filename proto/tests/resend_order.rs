// SPDX-License-Identifier: GPL-2.0-only

//! Order of the requests of one message id: all short sequences of events, long random ones,
//! and threads.

use std::{
    collections::BTreeSet,
    sync::{
        atomic::{
            AtomicBool,
            AtomicUsize,
            Ordering::SeqCst, //
        },
        Mutex, //
    }, //
};

use proptest::prelude::*;

use rnbd_proto::resend_order::{
    ResendOrder,
    ResendWaiter,
    WaitOutcome, //
};

/// An event of a message id.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive,
    End,
    Take,
    Withdraw,
}

const EVENTS: [Event; 4] = [Event::Arrive, Event::End, Event::Take, Event::Withdraw];

/// A [`ResendOrder`] beside a simple model of it. Requests are numbers.
#[derive(Default)]
struct Model {
    order: ResendOrder,
    waiter: ResendWaiter<usize>,
    executing: Option<usize>,
    waiting: Option<usize>,
    /// `leave` returned that `waiting` is next.
    ready: bool,
    arrived: usize,
    ended: Vec<usize>,
}

impl Model {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::End => self.end(),
            Event::Take => {
                let expected = self.ready.then_some(self.waiting).flatten();
                assert_eq!(self.order.is_ready(), self.ready);
                assert_eq!(self.order.take(&mut self.waiter), expected);
                if expected.is_some() {
                    assert_eq!(self.executing, None, "two at a time");
                    self.executing = self.waiting.take();
                    self.ready = false;
                }
            }
            Event::Withdraw => {
                assert_eq!(self.order.withdraw(&mut self.waiter, |_| false), None);
                let found = self.order.withdraw(&mut self.waiter, |_| true);
                assert_eq!(found, self.waiting);
                self.ended.extend(self.waiting.take());
                self.ready = false;
            }
        }
    }

    fn arrive(&mut self) {
        let id = self.arrived;
        self.arrived += 1;
        let free = self.executing.is_none() && !self.ready;
        assert_eq!(self.order.enter(), free);
        if free {
            self.executing = Some(id);
            return;
        }
        let expected = match self.waiting {
            Some(old) => WaitOutcome::Replaced(old),
            None => WaitOutcome::Waits,
        };
        assert_eq!(self.order.wait(&mut self.waiter, id), expected);
        self.ended.extend(self.waiting.replace(id));
    }

    fn end(&mut self) {
        // Only a request that is being executed ends.
        let Some(done) = self.executing.take() else {
            return;
        };
        self.ended.push(done);
        self.ready = self.waiting.is_some();
        assert_eq!(self.order.leave(), self.ready);
    }

    /// Ends all remaining requests, and checks that each request ended once.
    fn finish(mut self) {
        for _ in 0..2 {
            self.end();
            self.apply(Event::Take);
        }
        self.end();
        assert_eq!((self.executing, self.waiting), (None, None));
        self.ended.sort_unstable();
        assert_eq!(self.ended, (0..self.arrived).collect::<Vec<_>>());
        assert!(self.order.enter(), "free in the end");
    }
}

/// All sequences of seven events.
#[test]
fn all_short_sequences() {
    const LEN: u32 = 7;
    for number in 0..EVENTS.len().pow(LEN) {
        let mut model = Model::default();
        for digit in 0..LEN {
            model.apply(EVENTS[number / EVENTS.len().pow(digit) % EVENTS.len()]);
        }
        model.finish();
    }
}

proptest! {
    /// Long sequences of events.
    #[test]
    fn long_sequences(events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..200)) {
        let mut model = Model::default();
        for event in events {
            model.apply(event);
        }
        model.finish();
    }
}

/// The id becomes free before the next request begins to wait.
#[test]
fn an_id_that_is_left_before_the_wait_is_entered() {
    let (order, mut waiter) = (ResendOrder::new(), ResendWaiter::new());
    assert!(order.enter());
    assert!(!order.enter());
    assert!(!order.leave());
    assert_eq!(order.wait(&mut waiter, 1), WaitOutcome::Entered(1));
    assert!(!order.enter());
    assert!(!order.leave());
    assert!(order.enter());
}

/// A session with one message id, as the server uses it.
#[derive(Default)]
struct Session {
    order: ResendOrder,
    waiter: Mutex<ResendWaiter<usize>>,
    busy: AtomicBool,
    /// How often `leave` returned that a request is next.
    calls: AtomicUsize,
    ended: Mutex<BTreeSet<usize>>,
}

impl Session {
    fn execute(&self, id: usize) {
        assert!(!self.busy.swap(true, SeqCst), "two at a time");
        std::hint::spin_loop();
        assert!(self.busy.swap(false, SeqCst));
        self.end(id);
        if self.order.leave() {
            self.calls.fetch_add(1, SeqCst);
        }
    }

    fn end(&self, id: usize) {
        assert!(self.ended.lock().unwrap().insert(id), "{id} twice");
    }

    fn arrive(&self, id: usize) {
        if self.order.enter() {
            return self.execute(id);
        }
        let wait = self.order.wait(&mut self.waiter.lock().unwrap(), id);
        match wait {
            WaitOutcome::Entered(id) => self.execute(id),
            WaitOutcome::Waits => {}
            WaitOutcome::Replaced(old) => self.end(old),
        }
    }

    /// Executes the request that is next. Called once for each of `calls`.
    fn execute_next(&self) {
        let next = self.order.take(&mut self.waiter.lock().unwrap());
        if let Some(id) = next {
            self.execute(id);
        }
    }

    fn withdraw(&self, of: usize) {
        let mut waiter = self.waiter.lock().unwrap();
        let found = self.order.withdraw(&mut waiter, |id| id % 3 == of);
        drop(waiter);
        if let Some(id) = found {
            self.end(id);
        }
    }
}

/// Three paths send and are torn down at times, and one thread executes the next requests.
#[test]
fn paths_in_threads() {
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 3000 };
    let session = Session::default();
    let senders = AtomicUsize::new(3);
    std::thread::scope(|scope| {
        for path in 0..3 {
            let (session, senders) = (&session, &senders);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    session.arrive(round * 3 + path);
                    if round % 7 == path {
                        session.withdraw(path);
                    }
                }
                senders.fetch_sub(1, SeqCst);
            });
        }
        scope.spawn(|| loop {
            let last = senders.load(SeqCst) == 0;
            while session.calls.load(SeqCst) > 0 {
                session.calls.fetch_sub(1, SeqCst);
                session.execute_next();
            }
            if last && session.calls.load(SeqCst) == 0 {
                break;
            }
            std::thread::yield_now();
        });
    });
    let all = session.ended.into_inner().unwrap();
    assert_eq!(all, (0..ROUNDS * 3).collect());
    assert!(session.order.enter(), "free in the end");
}
