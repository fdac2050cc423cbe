// SPDX-License-Identifier: GPL-2.0-only

//! Reasons for which a connection manager rejects a connection, as its peer learns them.
//!
//! A server that rejects a connection sends an error number with it, see
//! [`ConnRsp::Reject`](crate::wire::rtrs::ConnRsp::Reject). This is about all other rejects:
//! those of the connection manager of the server's machine, and of servers of another protocol.
//! C header: [`include/rdma/ib_cm.h`](srctree/include/rdma/ib_cm.h), `enum ib_cm_rej_reason`.

use core::fmt;

use crate::error::{
    ECONNREFUSED,
    ECONNRESET,
    ENOBUFS,
    EOPNOTSUPP,
    EPROTO,
    ESTALE,
    ETIMEDOUT, //
};

/// Why a connection was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// No program listens on the port.
    NoListener,
    /// A program listens that is no RTRS server, or the device is iWARP, which has no reasons.
    Refused,
    /// The peer has an older connection that uses the same numbers. It is closed by the attempt,
    /// and a later attempt succeeds.
    Stale,
    /// The peer has no memory, queue pair or the like.
    NoResources,
    /// The peer waited too long for a message of the connection manager.
    Timeout,
    /// The peer cannot do what was asked for.
    Unsupported(u16),
    /// The peer does not accept a parameter of the request, such as the MTU (26).
    Parameter(u16),
    /// Any other reason.
    Other(i32),
}

impl RejectReason {
    /// Converts the status of an event: a reason (InfiniBand and RoCE), or 0 or a negative error
    /// number (iWARP).
    pub const fn from_status(status: i32) -> Self {
        match status {
            ..=0 | 28 => Self::Refused,
            1..=3 | 27 => Self::NoResources,
            4 => Self::Timeout,
            8 => Self::NoListener,
            10 => Self::Stale,
            5 | 24 | 25 | 31 | 35 => Self::Unsupported(status as u16),
            9 | 11..=23 | 26 | 29..=30 | 32..=33 => Self::Parameter(status as u16),
            other => Self::Other(other),
        }
    }

    /// Returns the error number, which is positive.
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoListener | Self::Refused => ECONNREFUSED,
            Self::Stale => ESTALE,
            Self::NoResources => ENOBUFS,
            Self::Timeout => ETIMEDOUT,
            Self::Unsupported(_) => EOPNOTSUPP,
            Self::Parameter(_) => EPROTO,
            Self::Other(_) => ECONNRESET,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener => f.write_str("no server listens on the port"),
            Self::Refused => f.write_str("no RTRS server listens on the port"),
            Self::Stale => f.write_str("the peer still has an older connection"),
            Self::NoResources => f.write_str("the peer lacks resources"),
            Self::Timeout => f.write_str("the peer waited too long"),
            Self::Unsupported(reason) => write!(f, "not supported by the peer (reason {reason})"),
            Self::Parameter(reason) => {
                write!(
                    f,
                    "a parameter is not accepted by the peer (reason {reason})"
                )
            }
            Self::Other(reason) => write!(f, "reason {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_reason_and_an_error() {
        for (status, reason, errno) in [
            (-111, RejectReason::Refused, ECONNREFUSED),
            (0, RejectReason::Refused, ECONNREFUSED),
            (1, RejectReason::NoResources, ENOBUFS),
            (4, RejectReason::Timeout, ETIMEDOUT),
            (5, RejectReason::Unsupported(5), EOPNOTSUPP),
            (6, RejectReason::Other(6), ECONNRESET),
            (8, RejectReason::NoListener, ECONNREFUSED),
            (10, RejectReason::Stale, ESTALE),
            (26, RejectReason::Parameter(26), EPROTO),
            (28, RejectReason::Refused, ECONNREFUSED),
            (i32::MAX, RejectReason::Other(i32::MAX), ECONNRESET),
            (i32::MIN, RejectReason::Refused, ECONNREFUSED),
        ] {
            assert_eq!(RejectReason::from_status(status), reason, "{status}");
            assert_eq!(reason.errno(), errno, "{status}");
        }
        for status in -200..200 {
            let text = RejectReason::from_status(status).to_string();
            assert!(!text.is_empty() && !text.contains('\n'), "{status}");
        }
    }

    #[test]
    fn only_a_stale_connection_is_worth_another_attempt_at_once() {
        let stale = |status: &i32| RejectReason::from_status(*status).errno() == ESTALE;
        assert_eq!((-200..200).filter(stale).collect::<Vec<_>>(), [10]);
    }
}
