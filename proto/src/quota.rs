// SPDX-License-Identifier: GPL-2.0-only

//! How much of a server clients may take.
//!
//! Every path pins the memory of its chunks, and every connection has queues of its
//! own; so a server says how many of them there may be, in all and for one peer. A
//! peer is an address, whatever it calls itself.

use core::fmt;

use crate::limits::MAX_CONNECTIONS;
use crate::limits::MAX_PATHS;

/// Default of [`Quota::paths`].
pub const DEFAULT_PATHS: u32 = 1024;
/// Default of [`Quota::peer_paths`].
pub const DEFAULT_PEER_PATHS: u32 = 256;
/// Default of [`Quota::peer_sessions`].
pub const DEFAULT_PEER_SESSIONS: u32 = 128;
/// Default of [`Quota::connections`]: as many as the protocol allows.
pub const DEFAULT_CONNECTIONS: u32 = MAX_CONNECTIONS as u32;
/// Default of [`Quota::peer_connections`].
pub const DEFAULT_PEER_CONNECTIONS: u32 = 16_384;
/// Fewest connections that a client can do with: one for control, one for I/O.
pub const MIN_CONNECTIONS: u32 = 2;

/// What there may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Paths of all peers together.
    pub paths: u32,
    /// Paths of one peer.
    pub peer_paths: u32,
    /// Sessions that one peer has paths of.
    pub peer_sessions: u32,
    /// Connections of one path.
    pub connections: u32,
    /// Connections of all paths of one peer.
    pub peer_connections: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            paths: DEFAULT_PATHS,
            peer_paths: DEFAULT_PEER_PATHS,
            peer_sessions: DEFAULT_PEER_SESSIONS,
            connections: DEFAULT_CONNECTIONS,
            peer_connections: DEFAULT_PEER_CONNECTIONS,
        }
    }
}

/// What a path would exceed, with the number that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaExceeded {
    /// [`Quota::paths`].
    Paths(u32),
    /// [`Quota::peer_paths`].
    PeerPaths(u32),
    /// [`Quota::peer_sessions`].
    PeerSessions(u32),
    /// [`Quota::connections`].
    Connections(u32),
    /// [`Quota::peer_connections`].
    PeerConnections(u32),
    /// [`MAX_PATHS`], which is part of the protocol.
    SessionPaths,
}

/// Names the parameter of the module that is to be changed, if that helps.
impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths(max) => write!(f, "more than max_paths={max} paths"),
            Self::PeerPaths(max) => {
                write!(f, "more than max_paths_per_peer={max} paths of one peer")
            }
            Self::PeerSessions(max) => write!(
                f,
                "more than max_sessions_per_peer={max} sessions of one peer"
            ),
            Self::Connections(max) => {
                write!(
                    f,
                    "more than max_connections_per_path={max} connections of one path"
                )
            }
            Self::PeerConnections(max) => write!(
                f,
                "more than max_connections_per_peer={max} connections of one peer"
            ),
            Self::SessionPaths => write!(f, "more than {MAX_PATHS} paths of one session"),
        }
    }
}

/// Where a path comes from, what it belongs to, and how much it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathUsage<S, P> {
    /// Identifies the session.
    pub session: S,
    /// Identifies the peer.
    pub peer: P,
    /// Connections that it has, or will have.
    pub connections: u16,
}

impl Quota {
    /// Whether a path of `origin` may join `others`, which is everything that is there.
    ///
    /// # Errors
    ///
    /// The first thing that it would exceed.
    pub fn admit<S: PartialEq, P: PartialEq>(
        &self,
        others: impl Iterator<Item = PathUsage<S, P>> + Clone,
        origin: &PathUsage<S, P>,
    ) -> Result<(), QuotaExceeded> {
        let fits = |count: usize, max: u32| u32::try_from(count).is_ok_and(|count| count < max);

        let connections = u32::from(origin.connections);
        if connections > self.connections {
            return Err(QuotaExceeded::Connections(self.connections));
        }
        if !fits(others.clone().count(), self.paths) {
            return Err(QuotaExceeded::Paths(self.paths));
        }
        let session = others.clone().filter(|one| one.session == origin.session);
        if session.count() >= MAX_PATHS {
            return Err(QuotaExceeded::SessionPaths);
        }
        let peer = others.filter(|one| one.peer == origin.peer);
        if !fits(peer.clone().count(), self.peer_paths) {
            return Err(QuotaExceeded::PeerPaths(self.peer_paths));
        }
        let has = peer.clone().map(|one| u32::from(one.connections)).sum();
        if connections.saturating_add(has) > self.peer_connections {
            return Err(QuotaExceeded::PeerConnections(self.peer_connections));
        }
        if peer.clone().any(|one| one.session == origin.session) {
            return Ok(());
        }
        // Each session is counted at its first path.
        let firsts = peer.clone().enumerate().filter(|(index, one)| {
            let before = peer.clone().take(*index);
            !before.into_iter().any(|known| known.session == one.session)
        });
        if !fits(firsts.count(), self.peer_sessions) {
            return Err(QuotaExceeded::PeerSessions(self.peer_sessions));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SMALL: Quota = Quota {
        paths: 6,
        peer_paths: 4,
        peer_sessions: 2,
        connections: 9,
        peer_connections: 14,
    };

    fn at(session: u8, peer: u8) -> PathUsage<u8, u8> {
        sized(session, peer, 3)
    }

    fn sized(session: u8, peer: u8, connections: u16) -> PathUsage<u8, u8> {
        PathUsage {
            session,
            peer,
            connections,
        }
    }

    fn admit(
        quota: &Quota,
        others: &[PathUsage<u8, u8>],
        new: PathUsage<u8, u8>,
    ) -> Result<(), QuotaExceeded> {
        quota.admit(others.iter().copied(), &new)
    }

    #[test]
    fn each_limit_is_reached_exactly() {
        let full = [at(1, 1), at(1, 1), at(2, 1), at(2, 1), at(1, 2), at(1, 2)];
        assert_eq!(admit(&SMALL, &full[..5], at(1, 2)), Ok(()));
        assert_eq!(admit(&SMALL, &full, at(1, 2)), Err(QuotaExceeded::Paths(6)));
        assert_eq!(admit(&SMALL, &full[..3], at(2, 1)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..4], at(2, 1)),
            Err(QuotaExceeded::PeerPaths(4))
        );
        assert_eq!(admit(&SMALL, &full[..2], at(2, 1)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..3], at(3, 1)),
            Err(QuotaExceeded::PeerSessions(2))
        );
        assert_eq!(
            admit(&SMALL, &full[..1], sized(1, 1, 10)),
            Err(QuotaExceeded::Connections(9))
        );
        assert_eq!(admit(&SMALL, &full[..2], sized(1, 1, 8)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..2], sized(1, 1, 9)),
            Err(QuotaExceeded::PeerConnections(14))
        );
    }

    #[test]
    fn a_session_has_no_more_paths_than_the_protocol_allows() {
        let others: Vec<_> = (0..MAX_PATHS).map(|n| at(1, n as u8)).collect();
        let quota = Quota::default();
        assert_eq!(admit(&quota, &others[1..], at(1, 0)), Ok(()));
        assert_eq!(
            admit(&quota, &others, at(1, 200)),
            Err(QuotaExceeded::SessionPaths)
        );
        assert_eq!(admit(&quota, &others, at(2, 0)), Ok(()));
    }

    #[test]
    fn the_reason_names_the_parameter() {
        for (reason, name) in [
            (QuotaExceeded::Paths(1), "max_paths=1"),
            (QuotaExceeded::PeerPaths(2), "max_paths_per_peer=2"),
            (QuotaExceeded::PeerSessions(3), "max_sessions_per_peer=3"),
            (QuotaExceeded::Connections(4), "max_connections_per_path=4"),
            (
                QuotaExceeded::PeerConnections(5),
                "max_connections_per_peer=5",
            ),
        ] {
            assert!(reason.to_string().contains(name), "{reason}");
        }
    }

    proptest! {
        /// Whatever comes in whichever order, what was admitted stays within limits,
        /// and nobody is kept out by what another peer has but by the sum of all.
        #[test]
        fn what_is_admitted_stays_within_the_quota(
            arrivals in prop::collection::vec((0..4_u8, 0..3_u8, 2..10_u16), 0..40),
        ) {
            let mut paths = Vec::new();
            for (session, peer, connections) in arrivals {
                let new = sized(session, peer, connections);
                let verdict = admit(&SMALL, &paths, new);
                let mine: Vec<_> = paths.iter().filter(|one| one.peer == peer).collect();
                let mut sessions: HashSet<_> = mine.iter().map(|one| one.session).collect();
                sessions.insert(session);
                let all = connections + mine.iter().map(|one| one.connections).sum::<u16>();
                let fits =
                    paths.len() < 6 && mine.len() < 4 && sessions.len() <= 2 && all <= 14;
                prop_assert_eq!(verdict.is_ok(), fits, "{:?} to {:?}", new, paths);
                if fits {
                    paths.push(new);
                }
            }
        }
    }
}
