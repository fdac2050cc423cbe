// SPDX-License-Identifier: GPL-2.0-only

//! Names in messages, which become names of files.
//!
//! On the wire a NUL follows a name. The fields of the C headers are 255 bytes long; the byte
//! after them is reserved and zero, so a name of 255 bytes fits with its NUL.

use core::{
    ffi::CStr,
    fmt, //
};

use crate::error::WireError;

/// Longest name, in bytes.
pub const MAX_NAME: usize = 255;
/// Buffer for the longest name and its NUL.
pub type NameBuf = [u8; MAX_NAME + 1];

/// Returns whether `byte` is a control character. These are not allowed in any name, as they
/// garble logs and listings.
const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

const fn check(name: &[u8]) -> Result<(), WireError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(WireError::Name);
    }
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        if is_control(*byte) {
            return Err(WireError::Name);
        }
        rest = tail;
    }
    Ok(())
}

/// Returns the name in a field: all bytes up to the first NUL.
fn from_field(field: &[u8]) -> Result<&[u8], WireError> {
    let len = field.iter().position(|&b| b == 0).ok_or(WireError::Name)?;
    field.get(..len).ok_or(WireError::Name)
}

/// Fills `buf` with `name`, at most [`MAX_NAME`] bytes, and NULs.
pub(crate) fn copy_terminated(name: impl Iterator<Item = u8>, buf: &mut NameBuf) -> &CStr {
    let mut name = name.take(MAX_NAME);
    for to in buf.iter_mut() {
        *to = name.next().unwrap_or(0);
    }
    // The last byte is always a NUL.
    CStr::from_bytes_until_nul(buf).unwrap_or_default()
}

/// Returns a field with `name`, padded with zeroes.
fn to_field(name: &[u8]) -> NameBuf {
    let mut field = [0; MAX_NAME + 1];
    copy_terminated(name.iter().copied(), &mut field);
    field
}

/// Prints `name` for a log line, with unprintable bytes escaped.
fn show(name: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}", name.escape_ascii())
}

/// The name of a session.
///
/// # Invariants
///
/// 1 to [`MAX_NAME`] bytes, no control characters, neither `/` nor `.` (it becomes a name in
/// sysfs and a component of a path).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessName<'a>(&'a [u8]);

impl<'a> SessName<'a> {
    /// Checks `name`.
    pub fn new(name: &'a [u8]) -> Result<Self, WireError> {
        check(name)?;
        if name.contains(&b'/') || name.contains(&b'.') {
            return Err(WireError::Name);
        }
        // INVARIANT: All checked above.
        Ok(Self(name))
    }

    /// Parses a field of a message.
    pub(crate) fn from_field(field: &'a [u8]) -> Result<Self, WireError> {
        Self::new(from_field(field)?)
    }

    pub(crate) fn to_field(self) -> NameBuf {
        to_field(self.0)
    }

    /// Writes the name with a NUL to `buf`.
    pub fn copy_to(self, buf: &mut NameBuf) -> &CStr {
        copy_terminated(self.0.iter().copied(), buf)
    }

    /// Returns the name without a NUL.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for SessName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

impl fmt::Debug for SessName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

/// The path of a device as the client sends it, relative to the server's search path.
///
/// # Invariants
///
/// 1 to [`MAX_NAME`] bytes, no control characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DevicePath<'a>(&'a [u8]);

impl<'a> DevicePath<'a> {
    /// Checks `path`.
    pub fn new(path: &'a [u8]) -> Result<Self, WireError> {
        check(path)?;
        // INVARIANT: All checked above.
        Ok(Self(path))
    }

    /// Parses a field of a message.
    pub(crate) fn from_field(field: &'a [u8]) -> Result<Self, WireError> {
        Self::new(from_field(field)?)
    }

    pub(crate) fn to_field(self) -> NameBuf {
        to_field(self.0)
    }

    /// Writes the path with a NUL to `buf`.
    pub fn copy_to(self, buf: &mut NameBuf) -> &CStr {
        copy_terminated(self.0.iter().copied(), buf)
    }

    /// Returns the path without a NUL.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for DevicePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}

impl fmt::Debug for DevicePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, f)
    }
}
