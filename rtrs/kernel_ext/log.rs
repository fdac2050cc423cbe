// SPDX-License-Identifier: GPL-2.0-only

//! Rate limits for messages that a peer can cause.
//!
//! Each call site prints at most [`BURST`](rnbd_proto::log_budget::BURST) messages about a peer
//! in [`WINDOW`](rnbd_proto::log_budget::WINDOW) seconds; the first one after that says how many
//! were suppressed. A peer that floods the log so does not suppress messages about another one.
//!
//! Also [`Plain`], which lets the macros of the kernel print types of other crates.

use kernel::{
    fmt,
    str::CStr,
    sync::Arc, //
};

use rnbd_proto::{
    peer_group::PeerGroup,
    wire::name::SessName, //
};

use crate::bindings;

use super::net::SockAddr;

pub use rnbd_proto::log_budget::LogBudget;

/// The peer that a message is about.
///
/// On a server it is whom quotas count as one peer, as clients choose the names of their
/// sessions. On a client it is the session.
pub trait LogPeer {
    /// Returns a number that is not 0, and most likely another one for another peer.
    fn log_key(&self) -> u64;
}

/// What messages of a peer begin with.
pub trait LogSubject: fmt::Display + LogPeer {}

impl<T: fmt::Display + LogPeer + ?Sized> LogSubject for T {}

impl<T: LogPeer + ?Sized> LogPeer for &T {
    fn log_key(&self) -> u64 {
        (**self).log_key()
    }
}

impl<T: LogPeer + ?Sized> LogPeer for Arc<T> {
    fn log_key(&self) -> u64 {
        (**self).log_key()
    }
}

impl LogPeer for PeerGroup {
    fn log_key(&self) -> u64 {
        self.key()
    }
}

impl LogPeer for SockAddr {
    fn log_key(&self) -> u64 {
        self.path_end()
            .map_or(PeerGroup::UNKNOWN, PeerGroup::from)
            .key()
    }
}

impl LogPeer for [u8] {
    fn log_key(&self) -> u64 {
        // FNV-1a.
        let hash = self.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });

        hash.max(1)
    }
}

impl LogPeer for CStr {
    fn log_key(&self) -> u64 {
        self.to_bytes().log_key()
    }
}

impl LogPeer for SessName<'_> {
    fn log_key(&self) -> u64 {
        self.as_bytes().log_key()
    }
}

/// A number that stands for a peer: of a disk, or that of [`LogPeer::log_key`].
impl LogPeer for u64 {
    fn log_key(&self) -> u64 {
        (*self).max(1)
    }
}

/// Takes a message about `peer` from `budget`; see [`LogBudget::take`]. Any context.
#[doc(hidden)]
pub fn take(budget: &LogBudget, peer: &impl LogPeer) -> Option<u32> {
    // SAFETY: May be called from any context.
    let now = unsafe { bindings::ktime_get_seconds() };

    // Never negative.
    budget.take(peer.log_key(), now.unsigned_abs())
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
    ($print:ident, $peer:expr => $($arg:tt)*) => {{
        static BUDGET: $crate::kernel_ext::log::LogBudget = $crate::kernel_ext::log::LogBudget::new();

        if let Some(suppressed) = $crate::kernel_ext::log::take(&BUDGET, &$peer) {
            if suppressed > 0 {
                ::kernel::$print!("{suppressed} messages like the next were left out\n");
            }
            ::kernel::$print!($($arg)*);
        }
    }};
}

/// [`pr_err!`](kernel::pr_err), limited to 10 messages in 5 seconds for each call site and
/// [peer](LogPeer), which is named first: `pr_err_ratelimited!(path => "{path}: lost\n")`.
#[macro_export]
macro_rules! pr_err_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_err, $($arg)*) };
}

/// [`pr_warn!`](kernel::pr_warn), limited as [`pr_err_ratelimited!`] is.
#[macro_export]
macro_rules! pr_warn_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_warn, $($arg)*) };
}

/// [`pr_info!`](kernel::pr_info), limited as [`pr_err_ratelimited!`] is.
#[macro_export]
macro_rules! pr_info_ratelimited {
    ($($arg:tt)*) => { $crate::print_ratelimited!(pr_info, $($arg)*) };
}
