// SPDX-License-Identifier: GPL-2.0-only

//! How often a request is sent again whose path was lost.
//!
//! Where a network loses long packets, as after the MTU of one machine was lowered, a path comes
//! up again by short messages and is lost with the next request of more data. Without a limit,
//! such a request would never end.

/// How many paths may be lost with a request in flight before it fails, as with other drivers of
/// disks behind networks.
pub const MAX_LOST_PATHS: u8 = 5;

/// Returns whether a request may be sent again that was in flight on `lost_paths` paths when they
/// were lost. I/O that shall wait for a path without end (negative `fast_io_fail_tmo`) always
/// may.
pub const fn may_resend(lost_paths: u8, fast_io_fail_tmo: i32) -> bool {
    fast_io_fail_tmo < 0 || lost_paths < MAX_LOST_PATHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_takes_every_path_down_fails() {
        let sent = (0..=u8::MAX).filter(|lost| may_resend(*lost, 120)).count();
        assert_eq!(sent, MAX_LOST_PATHS.into());
        assert!((0..=u8::MAX).all(|lost| may_resend(lost, -1)));
    }
}
