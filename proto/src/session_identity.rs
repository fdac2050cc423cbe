// SPDX-License-Identifier: GPL-2.0-only

//! Whether the addresses and the key in a line of `map_device` are those of a session that exists.
//!
//! A session is found by its name alone. A line that names a server, too, could mean another
//! one, whose device would silently be replaced by one of the session's server.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::session_identity::check;
//! use rnbd_proto::session_identity::Conflict;
//! use rnbd_proto::session_identity::PathEnd;
//! use rnbd_proto::session_identity::PathEnds;
//! use rnbd_proto::text::path_addr::Addr;
//!
//! let end = |last| PathEnd {
//!     addr: Addr::V4([10, 0, 0, last].into()),
//!     scope: 0,
//! };
//! let known = [PathEnds { src: Some(end(1)), dst: end(2) }];
//! let same = PathEnds { src: None, dst: end(2) };
//! let other = PathEnds { src: None, dst: end(9) };
//!
//! assert_eq!(check(&[same, other], None, 1234, known.iter().copied()), Ok(()));
//! assert_eq!(check(&[other], None, 1234, known.iter().copied()), Err(Conflict::Path));
//! ```

use crate::{
    auth::KeyName,
    error::ENOTUNIQ,
    text::path_addr::Addr, //
};

/// Address of one end of a path, without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathEnd {
    /// The address. A scope in it is not looked at.
    pub addr: Addr<'static>,
    /// Index of the network interface, 0 if none is given.
    pub scope: u32,
}

impl PathEnd {
    /// Whether `self`, as a user wrote it, names `known`. The names of paths in sysfs have no
    /// scope, so an address without one names that address in any scope.
    fn names(&self, known: &Self) -> bool {
        without_scope(self.addr) == without_scope(known.addr)
            && (self.scope == 0 || self.scope == known.scope)
    }
}

const fn without_scope(addr: Addr<'static>) -> Addr<'static> {
    match addr {
        Addr::V6 { addr, .. } => Addr::V6 { addr, scope: None },
        addr => addr,
    }
}

/// Both ends of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathEnds {
    /// The local end, if it is given or known.
    pub src: Option<PathEnd>,
    /// The server.
    pub dst: PathEnd,
}

impl PathEnds {
    /// Whether `self`, as a user wrote it, names `known`. The same address of a server can be
    /// another machine from another local address, so two local addresses must be equal. One
    /// that is missing on either side can be any.
    fn names(&self, known: &Self) -> bool {
        self.dst.names(&known.dst)
            && match (&self.src, &known.src) {
                (Some(src), Some(known)) => src.names(known),
                _ => true,
            }
    }
}

/// Why a line does not belong to a session of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The session has none of the given paths.
    Path,
    /// The session is with another port.
    Port,
    /// The session has proven another key, or none.
    Key,
}

impl Conflict {
    /// Returns the error number (positive) for the writer: the name is not unique.
    pub const fn errno(self) -> i32 {
        ENOTUNIQ
    }
}

/// Checks that a line means the session it names, which has the paths `known` to `known_port`.
/// Without addresses in the line the name suffices; otherwise one of them must be a path of
/// the session. A port counts if it is given.
pub fn check(
    given: &[PathEnds],
    port: Option<u16>,
    known_port: u16,
    known: impl Iterator<Item = PathEnds> + Clone,
) -> Result<(), Conflict> {
    if port.is_some_and(|port| port != known_port) {
        return Err(Conflict::Port);
    }
    let is_known = |given: &PathEnds| known.clone().any(|known| given.names(&known));
    match given.is_empty() || given.iter().any(is_known) {
        true => Ok(()),
        false => Err(Conflict::Path),
    }
}

/// Checks that a line which asks for `given`, if it does, means a session with the key `known`, if
/// that has one. A line without a key means any: the session stays as safe as it is.
pub fn check_key(given: Option<KeyName>, known: Option<KeyName>) -> Result<(), Conflict> {
    match given.is_none() || given == known {
        true => Ok(()),
        false => Err(Conflict::Key),
    }
}
