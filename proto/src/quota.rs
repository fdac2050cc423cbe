// SPDX-License-Identifier: GPL-2.0-only

//! Quotas: how many sessions, paths and connections a server accepts.
//!
//! Each path pins the memory of its chunks, and each connection has queues of its own, so a
//! server limits their numbers, in total and for each peer. A peer is identified by its
//! address, not by the names of its sessions.

use core::fmt;

use crate::limits::{
    MAX_CONNECTIONS,
    MAX_PATHS, //
};

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
/// Smallest number of connections of a path: one for control, one for I/O.
pub const MIN_CONNECTIONS: u32 = 2;

/// Upper limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Paths in total.
    pub paths: u32,
    /// Paths of one peer.
    pub peer_paths: u32,
    /// Sessions of one peer.
    pub peer_sessions: u32,
    /// Connections of one path.
    pub connections: u32,
    /// Connections of one peer.
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

/// The limit that a path would exceed.
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
    /// [`MAX_PATHS`] of one session, a limit of the protocol.
    SessionPaths,
}

/// Prints the limit with the name of its module parameter, if it has one.
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

/// A path as the quotas count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathUsage<S, P> {
    /// The session of the path.
    pub session: S,
    /// The peer of the path.
    pub peer: P,
    /// Number of connections of the path once it is up.
    pub connections: u16,
}

impl Quota {
    /// Checks whether the server may accept the path `new` beside `existing`, all paths that it
    /// has.
    ///
    /// # Errors
    ///
    /// The first limit that the path would exceed.
    pub fn admit<S: PartialEq, P: PartialEq>(
        &self,
        existing: impl Iterator<Item = PathUsage<S, P>> + Clone,
        new: &PathUsage<S, P>,
    ) -> Result<(), QuotaExceeded> {
        let fits = |count: usize, max: u32| u32::try_from(count).is_ok_and(|count| count < max);

        let connections = u32::from(new.connections);
        if connections > self.connections {
            return Err(QuotaExceeded::Connections(self.connections));
        }
        if !fits(existing.clone().count(), self.paths) {
            return Err(QuotaExceeded::Paths(self.paths));
        }
        let session = existing.clone().filter(|path| path.session == new.session);
        if session.count() >= MAX_PATHS {
            return Err(QuotaExceeded::SessionPaths);
        }
        let peer = existing.filter(|path| path.peer == new.peer);
        if !fits(peer.clone().count(), self.peer_paths) {
            return Err(QuotaExceeded::PeerPaths(self.peer_paths));
        }
        let existing_connections: u32 = peer.clone().map(|path| u32::from(path.connections)).sum();
        if connections.saturating_add(existing_connections) > self.peer_connections {
            return Err(QuotaExceeded::PeerConnections(self.peer_connections));
        }
        if peer.clone().any(|path| path.session == new.session) {
            return Ok(());
        }
        // Each session is counted at its first path.
        let firsts = peer.clone().enumerate().filter(|(index, path)| {
            let earlier = peer.clone().take(*index);
            !earlier
                .into_iter()
                .any(|other| other.session == path.session)
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

    fn path(session: u8, peer: u8) -> PathUsage<u8, u8> {
        path_with(session, peer, 3)
    }

    fn path_with(session: u8, peer: u8, connections: u16) -> PathUsage<u8, u8> {
        PathUsage {
            session,
            peer,
            connections,
        }
    }

    fn admit(
        quota: &Quota,
        existing: &[PathUsage<u8, u8>],
        new: PathUsage<u8, u8>,
    ) -> Result<(), QuotaExceeded> {
        quota.admit(existing.iter().copied(), &new)
    }

    #[test]
    fn each_limit_is_reached_exactly() {
        let full = [
            path(1, 1),
            path(1, 1),
            path(2, 1),
            path(2, 1),
            path(1, 2),
            path(1, 2),
        ];
        assert_eq!(admit(&SMALL, &full[..5], path(1, 2)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full, path(1, 2)),
            Err(QuotaExceeded::Paths(6))
        );
        assert_eq!(admit(&SMALL, &full[..3], path(2, 1)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..4], path(2, 1)),
            Err(QuotaExceeded::PeerPaths(4))
        );
        assert_eq!(admit(&SMALL, &full[..2], path(2, 1)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..3], path(3, 1)),
            Err(QuotaExceeded::PeerSessions(2))
        );
        assert_eq!(
            admit(&SMALL, &full[..1], path_with(1, 1, 10)),
            Err(QuotaExceeded::Connections(9))
        );
        assert_eq!(admit(&SMALL, &full[..2], path_with(1, 1, 8)), Ok(()));
        assert_eq!(
            admit(&SMALL, &full[..2], path_with(1, 1, 9)),
            Err(QuotaExceeded::PeerConnections(14))
        );
    }

    #[test]
    fn a_session_has_no_more_paths_than_the_protocol_allows() {
        let existing: Vec<_> = (0..MAX_PATHS).map(|n| path(1, n as u8)).collect();
        let quota = Quota::default();
        assert_eq!(admit(&quota, &existing[1..], path(1, 0)), Ok(()));
        assert_eq!(
            admit(&quota, &existing, path(1, 200)),
            Err(QuotaExceeded::SessionPaths)
        );
        assert_eq!(admit(&quota, &existing, path(2, 0)), Ok(()));
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
        /// In any order of arrivals, the admitted paths stay within the limits, and a peer is
        /// refused because of its own paths or the total, not because of another peer's.
        #[test]
        fn admitted_paths_stay_within_the_quota(
            arrivals in prop::collection::vec((0..4_u8, 0..3_u8, 2..10_u16), 0..40),
        ) {
            let mut paths = Vec::new();
            for (session, peer, connections) in arrivals {
                let new = path_with(session, peer, connections);
                let admitted = admit(&SMALL, &paths, new);
                let mine: Vec<_> = paths.iter().filter(|path| path.peer == peer).collect();
                let mut sessions: HashSet<_> = mine.iter().map(|path| path.session).collect();
                sessions.insert(session);
                let all = connections + mine.iter().map(|path| path.connections).sum::<u16>();
                let fits =
                    paths.len() < 6 && mine.len() < 4 && sessions.len() <= 2 && all <= 14;
                prop_assert_eq!(admitted.is_ok(), fits, "{:?} to {:?}", new, paths);
                if fits {
                    paths.push(new);
                }
            }
        }
    }
}
