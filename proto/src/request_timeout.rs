// SPDX-License-Identifier: GPL-2.0-only

//! Timeout of a request that the server does not respond to.
//!
//! A request cannot be taken back: the server may execute it at any time. If its disk is the only
//! one of the session, closing the connections ends it. The server accepts new connections of the
//! session only after it has executed all requests of the lost ones, so that requests are not
//! executed out of order.
//!
//! Other disks of the session must not wait for that. Then the request is withdrawn: the adapter
//! gives back its memory, it fails, and its message id is not used again before the server has
//! responded. Until then all I/O of that disk fails, for the same reason.

/// Number of timeout periods after which a request ends without a response.
const END_AFTER: u32 = 4;

/// The action to take for a request that timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// Do nothing: the request is not in flight.
    Ignore,
    /// Log it.
    Report,
    /// Reset the connections of its session.
    Reset,
    /// Withdraw it, and let the I/O of its disk fail.
    Withdraw,
}

/// Returns the action for a request that has been in flight for `periods` timeout periods, of
/// 30 s each by default, on a session with `disks` disks.
pub const fn action(periods: u32, disks: u32) -> TimeoutAction {
    match (periods, disks) {
        (0, _) => TimeoutAction::Ignore,
        (1..END_AFTER, _) => TimeoutAction::Report,
        (_, 0..=1) => TimeoutAction::Reset,
        (_, _) => TimeoutAction::Withdraw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_logged_first_and_later_resets_the_connections_of_its_only_disk() {
        for (disks, end) in [
            (1, TimeoutAction::Reset),
            (2, TimeoutAction::Withdraw),
            (100, TimeoutAction::Withdraw),
        ] {
            assert_eq!(action(0, disks), TimeoutAction::Ignore);
            for periods in 1..END_AFTER {
                assert_eq!(action(periods, disks), TimeoutAction::Report, "{periods}");
            }
            // Also after one that did not end it.
            for periods in [END_AFTER, END_AFTER + 1, u32::MAX] {
                assert_eq!(action(periods, disks), end, "{periods}");
            }
        }
    }
}
