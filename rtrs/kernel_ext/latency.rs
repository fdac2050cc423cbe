// SPDX-License-Identifier: GPL-2.0-only

//! Latency histograms of requests in debugfs, counted on demand.
//!
//! While counting is off, a request costs the load of a word that never changes. The owner of
//! a request records times with [`Latency::now`]; each CPU counts on its own.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{
        Acquire,
        Relaxed,
        Release, //
    }, //
};

use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSliceReader, //
};

use rnbd_proto::latency::{
    self,
    Histograms,
    OpKind,
    STAGES, //
};

use super::{
    clock,
    percpu::PerCpu,
    set_once::SetOnce, //
};

/// Histograms of the requests of one device.
#[pin_data]
pub struct Latency {
    stages: [&'static str; STAGES],
    /// When counting began, in nanoseconds; 0 while it is off.
    since: AtomicU64,
    /// Allocated when counting is first switched on.
    counts: SetOnce<PerCpu<Histograms>>,
    /// Held while counting is switched on or off.
    #[pin]
    switch: Mutex<()>,
}

impl Latency {
    /// Creates histograms of stages with these names; counting is off.
    pub fn new(stages: [&'static str; STAGES]) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                stages,
                since: AtomicU64::new(0),
                counts: SetOnce::new(),
                switch <- new_mutex!((), "rtrs_latency"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the time in nanoseconds if requests are counted. From any context.
    #[inline]
    pub fn now(&self) -> Option<u64> {
        match self.since.load(Relaxed) {
            0 => None,
            _ => Some(clock::now_ns()),
        }
    }

    /// Counts a request that was in stage number `stage` between the two times. From any
    /// context.
    ///
    /// `from` may be left over from an earlier request; times before counting began are
    /// ignored.
    pub fn add(&self, stage: usize, kind: OpKind, from: u64, to: u64) {
        let since = self.since.load(Acquire);
        if since == 0 || from < since {
            return;
        }
        if let Some(counts) = self.counts.as_ref().and_then(PerCpu::this) {
            counts.add(stage, kind, to.saturating_sub(from));
        }
    }

    /// Switches counting on, from zero, or off.
    fn set_counting(&self, on: bool) -> Result {
        let _switch = self.switch.lock();
        if !on {
            self.since.store(0, Relaxed);
            return Ok(());
        }
        if self.counts.as_ref().is_none() {
            self.counts.populate(PerCpu::new(Histograms::new)?);
        }
        for counts in self.counts.as_ref().into_iter().flat_map(PerCpu::iter) {
            counts.reset();
        }
        self.since.store(clock::now_ns().max(1), Release);
        Ok(())
    }

    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.since.load(Relaxed) != 0;
        writeln!(f, "counting {}", if on { "on" } else { "off" })?;
        match self.counts.as_ref() {
            Some(counts) => latency::print(f, self.stages, counts.iter()),
            None => Ok(()),
        }
    }

    pub(super) fn read(&self, input: &mut UserSliceReader) -> Result {
        let mut text = [0; 8];
        let text = text.get_mut(..input.len()).ok_or(EINVAL)?;
        input.read_slice(text)?;
        match text.trim_ascii() {
            b"on" | b"1" => self.set_counting(true),
            b"off" | b"0" => self.set_counting(false),
            _ => Err(EINVAL),
        }
    }
}
