// SPDX-License-Identifier: GPL-2.0-only

//! Quotas: how many sessions, paths, connections and bytes a server gives to its clients.
//!
//! Each path pins the memory of its chunks, and each connection has queues of its own, so a
//! server limits their numbers and their memory, in total and for each peer. A peer is
//! identified by its address (see [`crate::peer_group`]), not by the names of its sessions.
//!
//! Paths that are being set up, of sessions that are not up, have at most three quarters of what
//! all peers have together. The rest is left for sessions that are up: a peer that begins
//! connections and never ends them does not keep these from reconnecting a path.

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

/// Part of the RAM that the paths of all peers may take by default.
const DEFAULT_RAM_SHARE: Share = Share::Half;
/// Part of that for one peer.
const DEFAULT_PEER_SHARE: Share = Share::ThreeQuarters;
/// Part of what all peers have that paths may have which are being set up.
const HALF_OPEN_SHARE: Share = Share::ThreeQuarters;

/// A part of a whole.
#[derive(Clone, Copy)]
enum Share {
    Half,
    ThreeQuarters,
}

impl Share {
    /// Returns the part of `whole`, rounded up, so that something is left of little.
    const fn of(self, whole: u64) -> u64 {
        match self {
            Self::Half => whole - whole / 2,
            Self::ThreeQuarters => whole - whole / 4,
        }
    }
}

/// Bytes of a MiB, the unit of module parameters.
const MIB: u64 = 1 << 20;

/// Limits of memory, as an administrator gives them.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// MiB for all peers; 0: half of the RAM.
    pub mib: u32,
    /// MiB for one peer; 0: three quarters of what all peers have.
    pub peer_mib: u32,
    /// RAM of the machine, in bytes.
    pub ram: u64,
}

impl MemoryLimits {
    /// Returns the bytes for all peers.
    pub const fn bytes(self) -> u64 {
        match self.mib {
            0 => DEFAULT_RAM_SHARE.of(self.ram),
            mib => mib as u64 * MIB,
        }
    }

    /// Returns the bytes for one peer.
    pub const fn peer_bytes(self) -> u64 {
        match self.peer_mib {
            0 => DEFAULT_PEER_SHARE.of(self.bytes()),
            mib => mib as u64 * MIB,
        }
    }
}

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
    /// Bytes of memory in total.
    pub bytes: u64,
    /// Bytes of memory of one peer.
    pub peer_bytes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            paths: DEFAULT_PATHS,
            peer_paths: DEFAULT_PEER_PATHS,
            peer_sessions: DEFAULT_PEER_SESSIONS,
            connections: DEFAULT_CONNECTIONS,
            peer_connections: DEFAULT_PEER_CONNECTIONS,
            bytes: u64::MAX,
            peer_bytes: u64::MAX,
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
    /// [`Quota::bytes`].
    Bytes(u64),
    /// [`Quota::peer_bytes`].
    PeerBytes(u64),
    /// The part of [`Quota::paths`] for paths that are being set up.
    HalfOpenPaths(u64),
    /// The part of [`Quota::bytes`] for paths that are being set up.
    HalfOpenBytes(u64),
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
            Self::Bytes(max) => write!(f, "more than max_memory={} MiB", max / MIB),
            Self::PeerBytes(max) => write!(
                f,
                "more than max_memory_per_peer={} MiB of one peer",
                max / MIB
            ),
            Self::HalfOpenPaths(max) => write!(
                f,
                "more than {max} paths are being set up; the rest of max_paths is for sessions that are up"
            ),
            Self::HalfOpenBytes(max) => write!(
                f,
                "more than {} MiB for paths that are being set up; the rest of max_memory is for sessions that are up",
                max / MIB
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
    /// Bytes of memory that the path takes once it is up.
    pub bytes: u64,
    /// Whether the path is being set up, and its session is not up.
    pub half_open: bool,
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
        existing: &[PathUsage<S, P>],
        new: &PathUsage<S, P>,
    ) -> Result<(), QuotaExceeded> {
        let connections = u32::from(new.connections);
        if connections > self.connections {
            return Err(QuotaExceeded::Connections(self.connections));
        }
        let all = Total::of(existing, new, |_| true);
        if all.paths >= self.paths {
            return Err(QuotaExceeded::Paths(self.paths));
        }
        if all.bytes > self.bytes {
            return Err(QuotaExceeded::Bytes(self.bytes));
        }
        if new.half_open {
            self.admit_half_open(&Total::of(existing, new, |path| path.half_open))?;
        }
        let session = Total::of(existing, new, |path| path.session == new.session);
        if session.paths as usize >= MAX_PATHS {
            return Err(QuotaExceeded::SessionPaths);
        }
        let peer = Total::of(existing, new, |path| path.peer == new.peer);
        if peer.paths >= self.peer_paths {
            return Err(QuotaExceeded::PeerPaths(self.peer_paths));
        }
        if peer.connections > self.peer_connections {
            return Err(QuotaExceeded::PeerConnections(self.peer_connections));
        }
        if peer.bytes > self.peer_bytes {
            return Err(QuotaExceeded::PeerBytes(self.peer_bytes));
        }
        let known = |path: &PathUsage<S, P>| path.peer == new.peer && path.session == new.session;
        if !existing.iter().any(known) && sessions_with(existing, new) > self.peer_sessions {
            return Err(QuotaExceeded::PeerSessions(self.peer_sessions));
        }
        Ok(())
    }

    /// Checks the part that is left to paths that are being set up, of which `half_open` is the
    /// total. One path is always admitted.
    fn admit_half_open(&self, half_open: &Total) -> Result<(), QuotaExceeded> {
        let max_paths = HALF_OPEN_SHARE.of(self.paths.into());
        let max_bytes = HALF_OPEN_SHARE.of(self.bytes);

        if u64::from(half_open.paths) >= max_paths {
            return Err(QuotaExceeded::HalfOpenPaths(max_paths));
        }
        if half_open.paths > 0 && half_open.bytes > max_bytes {
            return Err(QuotaExceeded::HalfOpenBytes(max_bytes));
        }
        Ok(())
    }
}

/// What some of the existing paths have, and what they and a new one would take together.
struct Total {
    /// Number of existing paths.
    paths: u32,
    /// Connections of these and of the new path.
    connections: u32,
    /// Bytes of these and of the new path.
    bytes: u64,
}

impl Total {
    /// Adds up the paths of which `counts` is true. Loops, here and below: the names of functions
    /// that iterate over filters of filters are too long for the kernel's tools.
    fn of<S, P>(
        existing: &[PathUsage<S, P>],
        new: &PathUsage<S, P>,
        counts: impl Fn(&PathUsage<S, P>) -> bool,
    ) -> Self {
        let mut total = Self {
            paths: 0,
            connections: new.connections.into(),
            bytes: new.bytes,
        };
        for path in existing {
            if counts(path) {
                total.paths = total.paths.saturating_add(1);
                total.connections = total.connections.saturating_add(path.connections.into());
                total.bytes = total.bytes.saturating_add(path.bytes);
            }
        }
        total
    }
}

/// Returns the number of sessions that the peer of `new` has, that of `new` included.
fn sessions_with<S: PartialEq, P: PartialEq>(
    existing: &[PathUsage<S, P>],
    new: &PathUsage<S, P>,
) -> u32 {
    let mut sessions = 1_u32;
    for (index, path) in existing.iter().enumerate() {
        let mut counts = path.peer == new.peer && path.session != new.session;
        // Each session is counted at its first path.
        for earlier in existing.get(..index).unwrap_or_default() {
            counts &= earlier.peer != new.peer || earlier.session != path.session;
        }
        sessions = sessions.saturating_add(counts.into());
    }
    sessions
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
        bytes: 100,
        peer_bytes: 60,
    };

    fn path(session: u8, peer: u8) -> PathUsage<u8, u8> {
        path_with(session, peer, 3)
    }

    fn path_with(session: u8, peer: u8, connections: u16) -> PathUsage<u8, u8> {
        PathUsage {
            session,
            peer,
            connections,
            bytes: 10,
            half_open: false,
        }
    }

    /// A path of a session that is not up.
    fn begun(session: u8, peer: u8, bytes: u64) -> PathUsage<u8, u8> {
        PathUsage {
            bytes,
            half_open: true,
            ..path(session, peer)
        }
    }

    fn admit(
        quota: &Quota,
        existing: &[PathUsage<u8, u8>],
        new: PathUsage<u8, u8>,
    ) -> Result<(), QuotaExceeded> {
        quota.admit(existing, &new)
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
    fn memory_is_limited_in_total_and_for_a_peer() {
        let with = |session, peer, bytes| PathUsage {
            half_open: false,
            ..begun(session, peer, bytes)
        };
        assert_eq!(admit(&SMALL, &[with(1, 1, 40)], with(2, 1, 20)), Ok(()));
        assert_eq!(
            admit(&SMALL, &[with(1, 1, 40)], with(2, 1, 21)),
            Err(QuotaExceeded::PeerBytes(60))
        );
        let others = [with(1, 1, 50), with(2, 2, 30)];
        assert_eq!(admit(&SMALL, &others, with(3, 3, 20)), Ok(()));
        assert_eq!(
            admit(&SMALL, &others, with(3, 3, 21)),
            Err(QuotaExceeded::Bytes(100))
        );
        // What is being set up counts as if it were there.
        assert_eq!(
            admit(&SMALL, &[begun(1, 1, 50), with(2, 2, 30)], with(3, 3, 21)),
            Err(QuotaExceeded::Bytes(100))
        );
    }

    /// Peers that begin paths and do not end that leave a quarter to sessions that are up.
    #[test]
    fn paths_that_are_being_set_up_do_not_take_everything() {
        let wide = Quota {
            peer_paths: 6,
            peer_sessions: 6,
            peer_connections: 100,
            peer_bytes: 100,
            ..SMALL
        };
        let begun_paths: Vec<_> = (1..=5).map(|session| begun(session, 1, 1)).collect();
        assert_eq!(admit(&wide, &begun_paths[..4], begun(9, 2, 1)), Ok(()));
        assert_eq!(
            admit(&wide, &begun_paths, begun(9, 2, 1)),
            Err(QuotaExceeded::HalfOpenPaths(5))
        );
        assert_eq!(admit(&wide, &begun_paths, path(9, 2)), Ok(()));
        let large = [begun(1, 1, 50)];
        assert_eq!(admit(&wide, &large, begun(9, 2, 25)), Ok(()));
        assert_eq!(
            admit(&wide, &large, begun(9, 2, 26)),
            Err(QuotaExceeded::HalfOpenBytes(75))
        );
        let up = PathUsage {
            half_open: false,
            ..begun(9, 2, 50)
        };
        assert_eq!(admit(&wide, &large, up), Ok(()));
        // One is always possible.
        let one = Quota { paths: 1, ..wide };
        assert_eq!(admit(&one, &[], begun(1, 1, 100)), Ok(()));
    }

    #[test]
    fn memory_that_nobody_limits_is_a_share_of_the_ram() {
        let limits = MemoryLimits {
            mib: 0,
            peer_mib: 0,
            ram: 8 << 30,
        };
        assert_eq!((limits.bytes(), limits.peer_bytes()), (4 << 30, 3 << 30));
        let limits = MemoryLimits { mib: 100, ..limits };
        assert_eq!((limits.bytes(), limits.peer_bytes()), (100 * MIB, 75 * MIB));
        let limits = MemoryLimits {
            peer_mib: 7,
            ..limits
        };
        assert_eq!((limits.bytes(), limits.peer_bytes()), (100 * MIB, 7 * MIB));
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
            (QuotaExceeded::Bytes(6 * MIB), "max_memory=6 MiB"),
            (
                QuotaExceeded::PeerBytes(7 * MIB),
                "max_memory_per_peer=7 MiB",
            ),
            (QuotaExceeded::HalfOpenPaths(8), "max_paths"),
            (QuotaExceeded::HalfOpenBytes(9 * MIB), "max_memory"),
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
