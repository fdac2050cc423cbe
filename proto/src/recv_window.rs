// SPDX-License-Identifier: GPL-2.0-only

//! How many requests a connection has in flight, where requests are eager.
//!
//! Each request takes a receive of the server, and each response one of the client, and with eager
//! requests both have buffers. A receive for each message id on each connection would be a lot of
//! memory on a machine of many CPUs, of which few have many requests in flight at a time. So both
//! sides post fewer, by a rule that they share, and a client whose connection has as many requests
//! in flight sends the next one by another connection.

use crate::{
    atomic::{
        AtomicU32,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    },
    limits::QueueDepth, //
};

/// The window is at least this, or the queue depth.
const MIN_WINDOW: u32 = 32;

/// Returns the number of requests that a connection for I/O may have in flight, of a path of
/// `connections` connections, the one for control included.
///
/// Two shares of the queue, so that those for CPUs, if they are not fewer than those for polled
/// I/O, suffice for the whole queue.
pub const fn recv_window(depth: QueueDepth, connections: u16) -> u16 {
    let depth = depth.get() as u32;
    let io = connections.saturating_sub(1) as u32;
    let rounded_up = depth.saturating_add(io.saturating_sub(1));
    let window = match rounded_up.checked_div(io) {
        Some(share) if share > MIN_WINDOW / 2 => share.saturating_mul(2),
        Some(_) => MIN_WINDOW,
        None => depth,
    };
    if window < depth {
        window as u16
    } else {
        depth as u16
    }
}

/// Returns whether `by_cpu` connections suffice for the whole queue when those for polled I/O,
/// `polled` of them, are left alone.
pub const fn suffice(by_cpu: u16, polled: u16) -> bool {
    by_cpu >= polled
}

/// The requests that one connection may have in flight.
///
/// # Invariants
///
/// `free` is the size of the window less the requests in flight.
#[derive(Debug)]
pub struct RecvWindow {
    free: AtomicU32,
}

impl RecvWindow {
    /// Creates a window of `size` requests.
    pub const fn new(size: u16) -> Self {
        Self {
            free: AtomicU32::new(size as u32),
        }
    }

    /// Takes a place for a request. Returns false if there is none.
    #[inline]
    pub fn take(&self) -> bool {
        self.free
            .fetch_update(Acquire, Relaxed, |free| free.checked_sub(1))
            .is_ok()
    }

    /// Returns the place of a request that was not sent, or whose response arrived.
    #[inline]
    pub fn put_back(&self) {
        self.free.fetch_add(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(depth: u32, connections: u16) -> u16 {
        recv_window(QueueDepth::new(depth).unwrap(), connections)
    }

    #[test]
    fn few_connections_have_the_whole_queue() {
        for (depth, connections, expected) in [
            (512, 2, 512),
            (512, 3, 512),
            (512, 5, 256),
            (512, 65, 32),
            (512, 4096, 32),
            (16, 65, 16),
            (1, 2, 1),
            (65535, 2, 65535),
        ] {
            assert_eq!(
                window(depth, connections),
                expected,
                "{depth}, {connections}"
            );
        }
    }

    #[test]
    fn a_window_has_so_many_places() {
        let window = RecvWindow::new(2);
        assert!(window.take());
        assert!(window.take());
        assert!(!window.take());
        window.put_back();
        assert!(window.take());
        assert!(!window.take());
    }

    proptest! {
        /// A client never finds all connections for its CPUs full.
        #[test]
        fn the_windows_of_cpus_hold_the_queue(
            depth in 1..=65535_u32,
            by_cpu in 1..=2000_u16,
            polled in 0..=2000_u16,
        ) {
            prop_assume!(suffice(by_cpu, polled));
            let window = u32::from(window(depth, 1 + by_cpu + polled));
            prop_assert!(window.saturating_mul(by_cpu.into()) >= depth);
            prop_assert!(window <= depth);
        }
    }
}
