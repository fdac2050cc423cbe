// SPDX-License-Identifier: GPL-2.0-only

//! Names of keys.

use core::fmt;

/// Longest name of a key, in bytes. It is shorter than its field in a message, where a NUL
/// follows.
pub const MAX_KEY_NAME: usize = 63;

/// Name of a key: the part of its description in the keyring after `rnbd:`.
///
/// A name is no secret. It travels in clear text, and sysfs and the log show it.
///
/// # Invariants
///
/// The first `len` bytes of `bytes`, of which there are 1 to [`MAX_KEY_NAME`], are letters and
/// digits of ASCII and, except for the first one, `-`, `_` and `.`. The others are 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyName {
    len: u8,
    bytes: [u8; MAX_KEY_NAME],
}

impl KeyName {
    /// Checks `name`.
    pub fn new(name: &[u8]) -> Option<Self> {
        let (first, rest) = name.split_first()?;
        let may_follow = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        if !first.is_ascii_alphanumeric() || !rest.iter().all(may_follow) {
            return None;
        }
        let mut bytes = [0; MAX_KEY_NAME];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        // INVARIANT: All checked above.
        Some(Self {
            len: u8::try_from(name.len()).ok()?,
            bytes,
        })
    }

    /// Parses a field of a message: all bytes after the first NUL are ignored.
    pub(crate) fn from_field(field: &[u8; MAX_KEY_NAME + 1]) -> Option<Self> {
        let len = field.iter().position(|byte| *byte == 0)?;
        Self::new(field.get(..len)?)
    }

    /// Returns a field with the name, padded with zeroes.
    pub(crate) fn to_field(self) -> [u8; MAX_KEY_NAME + 1] {
        let mut field = [0; MAX_KEY_NAME + 1];
        for (to, byte) in field.iter_mut().zip(self.bytes) {
            *to = byte;
        }
        field
    }

    /// Returns the name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web1", "9", "a.b-c_d", &"x".repeat(MAX_KEY_NAME)] {
            let name = KeyName::new(good.as_bytes()).unwrap();
            assert_eq!(name.as_bytes(), good.as_bytes());
            assert_eq!(name.to_string(), good);
            assert_eq!(KeyName::from_field(&name.to_field()), Some(name));
        }
        let long = "x".repeat(MAX_KEY_NAME + 1);
        for bad in [
            "", ".", "..", "-a", "a b", "a/b", "a:b", "a\n", "\u{e4}", "a,b", &long,
        ] {
            assert_eq!(KeyName::new(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_field_without_a_name_is_refused() {
        assert_eq!(KeyName::from_field(&[0; MAX_KEY_NAME + 1]), None);
        assert_eq!(KeyName::from_field(&[b'a'; MAX_KEY_NAME + 1]), None);
    }
}
