// SPDX-License-Identifier: GPL-2.0-only

//! Timeout of a request that the server does not respond to.
//!
//! A single request cannot be aborted: a network adapter may be reading or writing its memory,
//! and the server may execute it at any time. Only closing its connections ends it. The server
//! accepts new connections of the session only after it has executed all requests of the lost
//! ones, so that requests are not executed out of order.

/// Number of timeout periods after which the session's connections are reset.
const RESET_AFTER: u32 = 4;

/// The action to take for a request that timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// Do nothing: the request is not in flight.
    Ignore,
    /// Log it.
    Report,
    /// Reset the connections of its session.
    Reset,
}

/// Returns the action for a request that has been in flight for `periods` timeout periods, of
/// 30 s each by default.
pub const fn action(periods: u32) -> TimeoutAction {
    match periods {
        0 => TimeoutAction::Ignore,
        1..RESET_AFTER => TimeoutAction::Report,
        _ => TimeoutAction::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_logged_first_and_later_resets_its_connections() {
        assert_eq!(action(0), TimeoutAction::Ignore);
        for periods in 1..RESET_AFTER {
            assert_eq!(action(periods), TimeoutAction::Report, "{periods} periods");
        }
        // Also after a reset that did not end it.
        for periods in [RESET_AFTER, RESET_AFTER + 1, u32::MAX] {
            assert_eq!(action(periods), TimeoutAction::Reset, "{periods} periods");
        }
    }
}
