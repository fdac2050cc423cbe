// SPDX-License-Identifier: GPL-2.0-only

//! Rate limits for messages that a peer can cause.
//!
//! Each call site prints at most [`BURST`] messages in [`WINDOW`] seconds; the first one after
//! that says how many were suppressed.
//!
//! Also [`Plain`], which lets the macros of the kernel print types of other crates.

use kernel::{
    fmt,
    sync::atomic::{
        ordering,
        Atomic, //
    }, //
};

use crate::bindings;

/// Messages of one call site in one window.
const BURST: u32 = 10;

/// Length of a window in seconds.
const WINDOW: i64 = 5;

/// The limit of one call site.
///
/// A race costs at most one message too many or too few.
pub struct RateLimit {
    /// Uptime in seconds when the window began.
    begin: Atomic<i64>,
    /// Messages asked for in the window.
    count: Atomic<u32>,
}

impl RateLimit {
    /// Creates a limit that is not used up.
    pub const fn new() -> Self {
        Self {
            begin: Atomic::new(-WINDOW),
            count: Atomic::new(0),
        }
    }

    /// Returns `None` if the message must be suppressed, otherwise the number of messages
    /// suppressed before it.
    pub fn check(&self) -> Option<u32> {
        // SAFETY: May be called from any context.
        let now = unsafe { bindings::ktime_get_seconds() };

        let begin = self.begin.load(ordering::Relaxed);
        let over = now.wrapping_sub(begin) >= WINDOW;
        if over && self.begin.cmpxchg(begin, now, ordering::Relaxed).is_ok() {
            let asked = self.count.xchg(1, ordering::Relaxed);
            return Some(asked.saturating_sub(BURST));
        }

        (self.count.fetch_add(1, ordering::Relaxed) < BURST).then_some(0)
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints a value that has the `Display` of `core` where the macros of the kernel require
/// that of the kernel crate.
#[derive(Clone, Copy)]
pub struct Plain<T>(pub T);

impl<T: core::fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! print_ratelimited {
    ($print:ident, $($arg:tt)*) => {{
        static LIMIT: $crate::kernel_ext::log::RateLimit = $crate::kernel_ext::log::RateLimit::new();

        if let Some(suppressed) = LIMIT.check() {
            if suppressed > 0 {
                ::kernel::$print!("{suppressed} messages like the next were left out\n");
            }
            ::kernel::$print!($($arg)*);
        }
    }};
}

/// [`pr_err!`](kernel::pr_err), limited to 10 messages in 5 seconds for each call site.
#[macro_export]
macro_rules! pr_err_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_err, $($arg)*) };
}

/// [`pr_warn!`](kernel::pr_warn), limited to 10 messages in 5 seconds for each call site.
#[macro_export]
macro_rules! pr_warn_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_warn, $($arg)*) };
}

/// [`pr_info!`](kernel::pr_info), limited to 10 messages in 5 seconds for each call site.
#[macro_export]
macro_rules! pr_info_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_info, $($arg)*) };
}
