// SPDX-License-Identifier: GPL-2.0-only

//! How long requests take, shown as histograms in debugfs and counted only on demand.
//!
//! While nobody asks, a request costs the load of a word that never changes. Times are
//! noted by the owner of a request ([`Latency::now`]) and counted by CPU.

use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::Ordering::Release;

use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SetOnce;
use kernel::uaccess::UserSliceReader;
use rnbd_proto::latency;
use rnbd_proto::latency::Histograms;
use rnbd_proto::latency::OpKind;
use rnbd_proto::latency::STAGES;

use super::clock;
use super::percpu::PerCpu;

/// Histograms of the requests of one device.
#[pin_data]
pub struct Latency {
    stages: [&'static str; STAGES],
    /// Since when requests are counted, in nanoseconds; 0: not now.
    since: AtomicU64,
    /// There once somebody asked.
    counts: SetOnce<PerCpu<Histograms>>,
    /// Held while they are switched on or off.
    #[pin]
    switch: Mutex<()>,
}

impl Latency {
    /// Histograms of two stages with these names, not counting.
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

    /// The time, in nanoseconds, if requests are counted. In any context.
    #[inline]
    pub fn now(&self) -> Option<u64> {
        match self.since.load(Relaxed) {
            0 => None,
            _ => Some(clock::now_ns()),
        }
    }

    /// A request passed through stage number `stage` in the time between these two, of
    /// which the first may be left over from a request that was not timed. In any context.
    pub fn add(&self, stage: usize, kind: OpKind, from: u64, to: u64) {
        let since = self.since.load(Acquire);
        if since == 0 || from < since {
            return;
        }
        if let Some(counts) = self.counts.as_ref().and_then(PerCpu::this) {
            counts.add(stage, kind, to.saturating_sub(from));
        }
    }

    /// Begins to count, from nothing, or ends it.
    fn turn(&self, on: bool) -> Result {
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
            b"on" | b"1" => self.turn(true),
            b"off" | b"0" => self.turn(false),
            _ => Err(EINVAL),
        }
    }
}
