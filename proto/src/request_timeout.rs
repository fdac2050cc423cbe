// SPDX-License-Identifier: GPL-2.0-only

//! What becomes of a request that the server does not answer.
//!
//! It cannot be taken back by itself: a network adapter may be reading or writing its
//! memory, and the server may execute it at any time. All that ends it is to end its
//! connections. As the server does not let a client back in before what it was sent
//! over the lost connections is executed, nothing is done out of order.

/// For how many periods an answer is waited for.
const RESET_AFTER: u32 = 4;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    /// Nothing: it is not in flight.
    Ignore,
    /// Tell the operator.
    Report,
    /// Give up the connections of its session, and make new ones.
    Reset,
}

/// What to do about a request that has been in flight for `periods`, of 30 s each
/// unless somebody changed that.
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
    fn a_request_is_reported_for_some_periods_and_then_ends_its_connections() {
        assert_eq!(action(0), TimeoutAction::Ignore);
        for periods in 1..RESET_AFTER {
            assert_eq!(action(periods), TimeoutAction::Report, "{periods} periods");
        }
        // Also when a reset did not end it.
        for periods in [RESET_AFTER, RESET_AFTER + 1, u32::MAX] {
            assert_eq!(action(periods), TimeoutAction::Reset, "{periods} periods");
        }
    }
}
