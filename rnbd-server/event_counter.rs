// SPDX-License-Identifier: GPL-2.0-only

//! The number of asynchronous events of a session.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use rnbd_proto::async_event::EventCount;

/// Counts the events that the client of a session is notified of.
pub(crate) struct EventCounter(AtomicU32);

impl EventCounter {
    /// Creates a counter without events.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(EventCount::NONE.get()))
    }

    /// Counts one more event.
    pub(crate) fn increment(&self) {
        // Always succeeds.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |count| {
            Some(EventCount::new(count).next().get())
        });
    }

    /// Returns the present count.
    pub(crate) fn get(&self) -> EventCount {
        EventCount::new(self.0.load(Relaxed))
    }
}
