// SPDX-License-Identifier: GPL-2.0-only

//! Order among the requests of one id: through all short sequences, through
//! long random ones, and between threads.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::Mutex;

use proptest::prelude::*;
use rnbd_proto::resend_order::ResendOrder;
use rnbd_proto::resend_order::ResendWaiter;
use rnbd_proto::resend_order::WaitOutcome;

/// What can happen to a lane.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrive,
    End,
    Take,
    Withdraw,
}

const EVENTS: [Event; 4] = [Event::Arrive, Event::End, Event::Take, Event::Withdraw];

/// A lane next to what it should be, in plain words. Requests are numbers.
#[derive(Default)]
struct Model {
    lane: ResendOrder,
    place: ResendWaiter<usize>,
    executing: Option<usize>,
    waiting: Option<usize>,
    /// `waiting` was announced by `leave`.
    ready: bool,
    arrived: usize,
    gone: Vec<usize>,
}

impl Model {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::End => self.end(),
            Event::Take => {
                let expected = self.ready.then_some(self.waiting).flatten();
                assert_eq!(self.lane.is_ready(), self.ready);
                assert_eq!(self.lane.take(&mut self.place), expected);
                if expected.is_some() {
                    assert_eq!(self.executing, None, "two at a time");
                    self.executing = self.waiting.take();
                    self.ready = false;
                }
            }
            Event::Withdraw => {
                assert_eq!(self.lane.withdraw(&mut self.place, |_| false), None);
                let found = self.lane.withdraw(&mut self.place, |_| true);
                assert_eq!(found, self.waiting);
                self.gone.extend(self.waiting.take());
                self.ready = false;
            }
        }
    }

    fn arrive(&mut self) {
        let id = self.arrived;
        self.arrived += 1;
        let free = self.executing.is_none() && !self.ready;
        assert_eq!(self.lane.enter(), free);
        if free {
            self.executing = Some(id);
            return;
        }
        let expected = match self.waiting {
            Some(old) => WaitOutcome::Replaced(old),
            None => WaitOutcome::Waits,
        };
        assert_eq!(self.lane.wait(&mut self.place, id), expected);
        self.gone.extend(self.waiting.replace(id));
    }

    fn end(&mut self) {
        // Only a request that is being executed ends.
        let Some(done) = self.executing.take() else {
            return;
        };
        self.gone.push(done);
        self.ready = self.waiting.is_some();
        assert_eq!(self.lane.leave(), self.ready);
    }

    /// Ends all that is left, and checks that every request had one end.
    fn finish(mut self) {
        for _ in 0..2 {
            self.end();
            self.apply(Event::Take);
        }
        self.end();
        assert_eq!((self.executing, self.waiting), (None, None));
        self.gone.sort_unstable();
        assert_eq!(self.gone, (0..self.arrived).collect::<Vec<_>>());
        assert!(self.lane.enter(), "free at last");
    }
}

/// All sequences of seven events.
#[test]
fn lane_sequences() {
    const LEN: u32 = 7;
    for number in 0..EVENTS.len().pow(LEN) {
        let mut model = Model::default();
        for place in 0..LEN {
            model.apply(EVENTS[number / EVENTS.len().pow(place) % EVENTS.len()]);
        }
        model.finish();
    }
}

proptest! {
    /// Long sequences.
    #[test]
    fn lane_at_length(events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..200)) {
        let mut model = Model::default();
        for event in events {
            model.apply(event);
        }
        model.finish();
    }
}

/// A lane that finds its free state while a request is being queued.
#[test]
fn lane_that_is_left_before_the_wait() {
    let (lane, mut place) = (ResendOrder::new(), ResendWaiter::new());
    assert!(lane.enter());
    assert!(!lane.enter());
    assert!(!lane.leave());
    assert_eq!(lane.wait(&mut place, 1), WaitOutcome::Entered(1));
    assert!(!lane.enter());
    assert!(!lane.leave());
    assert!(lane.enter());
}

/// A session with one lane, as the server uses it.
#[derive(Default)]
struct Session {
    lane: ResendOrder,
    place: Mutex<ResendWaiter<usize>>,
    busy: AtomicBool,
    /// Announcements that somebody has to look for a request.
    calls: AtomicUsize,
    gone: Mutex<BTreeSet<usize>>,
}

impl Session {
    fn execute(&self, id: usize) {
        assert!(!self.busy.swap(true, SeqCst), "two at a time");
        std::hint::spin_loop();
        assert!(self.busy.swap(false, SeqCst));
        self.over(id);
        if self.lane.leave() {
            self.calls.fetch_add(1, SeqCst);
        }
    }

    fn over(&self, id: usize) {
        assert!(self.gone.lock().unwrap().insert(id), "{id} twice");
    }

    fn arrive(&self, id: usize) {
        if self.lane.enter() {
            return self.execute(id);
        }
        let wait = self.lane.wait(&mut self.place.lock().unwrap(), id);
        match wait {
            WaitOutcome::Entered(id) => self.execute(id),
            WaitOutcome::Waits => {}
            WaitOutcome::Replaced(old) => self.over(old),
        }
    }

    /// What is done once for each call.
    fn serve(&self) {
        let next = self.lane.take(&mut self.place.lock().unwrap());
        if let Some(id) = next {
            self.execute(id);
        }
    }

    fn withdraw(&self, of: usize) {
        let mut place = self.place.lock().unwrap();
        let found = self.lane.withdraw(&mut place, |id| id % 3 == of);
        drop(place);
        if let Some(id) = found {
            self.over(id);
        }
    }
}

/// Three paths send, one is torn down now and then, one thread serves.
#[test]
fn lane_between_threads() {
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
                session.serve();
            }
            if last && session.calls.load(SeqCst) == 0 {
                break;
            }
            std::thread::yield_now();
        });
    });
    let all = session.gone.into_inner().unwrap();
    assert_eq!(all, (0..ROUNDS * 3).collect());
    assert!(session.lane.enter(), "free at last");
}
