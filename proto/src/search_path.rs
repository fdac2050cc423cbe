// SPDX-License-Identifier: GPL-2.0-only

//! Resolves the path that a client sends to the path that the server opens.
//!
//! The server's `dev_search_path` is prepended to the client's path. Each `%SESSNAME%` in it
//! is replaced by the name of the client's session, so that each session can have a directory
//! of its own. No component of the client's path may be `..`; symbolic links that lead out of
//! the directory are refused later, when the path is opened, unless only root can have made
//! them.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::search_path::SearchPath;
//! use rnbd_proto::search_path::SearchPathError;
//! use rnbd_proto::wire::name::DevicePath;
//! use rnbd_proto::wire::name::SessName;
//!
//! let search_path = SearchPath::new(b"/srv/%SESSNAME%").expect("an absolute path");
//! let sessname = SessName::new(b"s1").expect("a name");
//! let mut buf = [0; 64];
//!
//! let device = DevicePath::new(b"disks/a").expect("a path");
//! assert_eq!(
//!     search_path.resolve(sessname, device, &mut buf),
//!     Ok(c"/srv/s1/disks/a"),
//! );
//!
//! let device = DevicePath::new(b"../s2/a").expect("a path");
//! assert_eq!(
//!     search_path.resolve(sessname, device, &mut buf),
//!     Err(SearchPathError::Parent),
//! );
//! ```

use core::{
    ffi::CStr,
    fmt, //
};

use crate::{
    error::EINVAL,
    wire::name::{
        DevicePath,
        SessName, //
    }, //
};

/// Largest length of a path with its NUL, in bytes (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;
/// Placeholder for the name of the session.
const PLACEHOLDER: &[u8] = b"%SESSNAME%";

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchPathError {
    /// The search path does not start with `/`.
    Relative,
    /// The search path contains control characters.
    Control,
    /// A component is `..`.
    Parent,
    /// The device path names no file: it consists of slashes and dots.
    Empty,
    /// Longer than [`PATH_MAX`].
    TooLong,
}

impl SearchPathError {
    /// Returns the error number (positive) for the client.
    pub const fn errno(self) -> i32 {
        EINVAL
    }
}

impl fmt::Display for SearchPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "search path does not start with /",
            Self::Control => "control characters in search path",
            Self::Parent => "path contains ..",
            Self::Empty => "path names no file",
            Self::TooLong => "path too long",
        })
    }
}

/// Returns the components of a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
}

/// A valid `dev_search_path`.
///
/// # Invariants
///
/// Starts with `/`, has no component `..` and no control characters, and is
/// shorter than [`PATH_MAX`].
#[derive(Clone, Copy, Debug)]
pub struct SearchPath<'a>(&'a [u8]);

impl<'a> SearchPath<'a> {
    /// Checks the value that the administrator set.
    pub fn new(path: &'a [u8]) -> Result<Self, SearchPathError> {
        if path.first() != Some(&b'/') {
            return Err(SearchPathError::Relative);
        }
        if path.len() >= PATH_MAX {
            return Err(SearchPathError::TooLong);
        }
        if path.iter().any(u8::is_ascii_control) {
            return Err(SearchPathError::Control);
        }
        if components(path).any(|c| c == b"..") {
            return Err(SearchPathError::Parent);
        }
        // INVARIANT: All checked above.
        Ok(Self(path))
    }

    /// Returns whether clients can open devices in the whole file system.
    pub fn is_root(self) -> bool {
        components(self.0).next().is_none()
    }

    /// Writes the directory with the devices of a session to `buf`.
    pub fn directory<'b>(
        self,
        sessname: SessName<'_>,
        buf: &'b mut [u8],
    ) -> Result<&'b CStr, SearchPathError> {
        let mut out = Writer { buf, len: 0 };
        self.write_directory(sessname, &mut out)?;
        if out.len == 0 {
            out.push(b"/")?;
        }
        out.finish()
    }

    /// Writes the path of a device to `buf`. [`PATH_MAX`] bytes are always enough.
    pub fn resolve<'b>(
        self,
        sessname: SessName<'_>,
        device: DevicePath<'_>,
        buf: &'b mut [u8],
    ) -> Result<&'b CStr, SearchPathError> {
        if components(device.as_bytes()).next().is_none() {
            return Err(SearchPathError::Empty);
        }
        let mut out = Writer { buf, len: 0 };
        self.write_directory(sessname, &mut out)?;
        for component in components(device.as_bytes()) {
            if component == b".." {
                return Err(SearchPathError::Parent);
            }
            out.push(b"/")?;
            out.push(component)?;
        }
        out.finish()
    }

    fn write_directory(
        self,
        sessname: SessName<'_>,
        out: &mut Writer<'_>,
    ) -> Result<(), SearchPathError> {
        for component in components(self.0) {
            out.push(b"/")?;
            let mut rest = component;
            while let [first, tail @ ..] = rest {
                // The name has neither `/` nor `.`, so it adds no component.
                if let Some(behind) = rest.strip_prefix(PLACEHOLDER) {
                    out.push(sessname.as_bytes())?;
                    rest = behind;
                } else {
                    out.push(&[*first])?;
                    rest = tail;
                }
            }
        }
        Ok(())
    }
}

/// Writes to a buffer, leaving space for a NUL.
struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), SearchPathError> {
        let end = self.len.saturating_add(bytes.len());
        // The NUL goes to `end`.
        if end >= self.buf.len() || end >= PATH_MAX {
            return Err(SearchPathError::TooLong);
        }
        // Of the length of `bytes`, as the compiler sees: no path leads to a panic.
        let free = self.buf.get_mut(self.len..);
        let room = free.and_then(|free| free.get_mut(..bytes.len()));
        room.ok_or(SearchPathError::TooLong)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn finish(self) -> Result<&'b CStr, SearchPathError> {
        let Some(end) = self.buf.get_mut(self.len) else {
            return Err(SearchPathError::TooLong);
        };
        *end = 0;
        CStr::from_bytes_until_nul(self.buf).map_err(|_| SearchPathError::TooLong)
    }
}
