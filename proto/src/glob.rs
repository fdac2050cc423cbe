// SPDX-License-Identifier: GPL-2.0-only

//! Patterns for names.
//!
//! | element | matches |
//! |---|---|
//! | `?` | one byte, but no `/` |
//! | `*` | any number of bytes, none of them a `/` |
//! | `**` | any number of bytes |
//!
//! Every other byte matches itself. There is no escape character: a `\` matches a `\`, as in
//! the names that udev makes. A `?` matches a byte that a pattern cannot contain, such as a
//! space.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::glob::Glob;
//!
//! let pattern = Glob::new(b"/dev/mapper/vm?-*").expect("neither empty nor too long");
//! assert!(pattern.matches(b"/dev/mapper/vm1-root"));
//! assert!(!pattern.matches(b"/dev/mapper/vm1-root/part1"));
//! ```

/// Longest pattern, in bytes.
pub(crate) const MAX_PATTERN: usize = 255;

/// A pattern.
///
/// # Invariants
///
/// 1 to [`MAX_PATTERN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glob<'a>(&'a [u8]);

/// What one byte of a pattern matches.
#[derive(Clone, Copy)]
enum Element {
    Byte(u8),
    AnyByte,
    /// Each star of a `**` matches slashes, too.
    Star {
        slashes: bool,
    },
}

impl<'a> Glob<'a> {
    /// Creates a pattern, unless it is empty or too long.
    pub const fn new(pattern: &'a [u8]) -> Option<Self> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN {
            return None;
        }
        // INVARIANT: Checked just above.
        Some(Self(pattern))
    }

    /// Returns the pattern as it was written.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the only name that the pattern matches, if it has no wildcards.
    pub fn literal(self) -> Option<&'a [u8]> {
        let wild = self.0.iter().any(|byte| matches!(byte, b'*' | b'?'));

        (!wild).then_some(self.0)
    }

    /// Returns whether the pattern has nothing but stars.
    pub fn is_everything(self) -> bool {
        self.0.iter().all(|byte| *byte == b'*')
    }

    /// Returns whether all of `name` matches.
    ///
    /// Takes time in proportion to the product of both lengths for any pattern.
    pub fn matches(self, name: &[u8]) -> bool {
        // Which prefixes of the pattern match the part of the name read so far, by length.
        let mut live = [false; MAX_PATTERN + 1];

        self.step(&mut live, None);
        for byte in name {
            self.step(&mut live, Some(*byte));
        }
        live.get(self.0.len()).is_some_and(|whole| *whole)
    }

    /// Updates `live` for the next byte of the name, or for its start if `byte` is `None`.
    fn step(self, live: &mut [bool], byte: Option<u8>) {
        // Whether the prefix one shorter was live and its next element matches the byte.
        let mut reached = byte.is_none();
        // Whether the prefix one shorter is live and its next element matches no bytes.
        let mut skipped = false;
        let elements = (0..self.0.len()).map(|at| self.element(at));

        for (state, element) in live.iter_mut().zip(elements.chain([None])) {
            let was = *state;
            let matches = was && matches!((element, byte), (Some(e), Some(b)) if e.matches(b));
            let star = matches!(element, Some(Element::Star { .. }));

            *state = reached || skipped || (matches && star);
            reached = matches && !star;
            skipped = *state && star;
        }
    }

    fn element(self, at: usize) -> Option<Element> {
        let is_star = |at: usize| self.0.get(at) == Some(&b'*');

        Some(match *self.0.get(at)? {
            b'*' => Element::Star {
                slashes: is_star(at.wrapping_add(1)) || is_star(at.wrapping_sub(1)),
            },
            b'?' => Element::AnyByte,
            byte => Element::Byte(byte),
        })
    }
}

impl Element {
    const fn matches(self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => byte == own,
            Self::AnyByte => byte != b'/',
            Self::Star { slashes } => slashes || byte != b'/',
        }
    }
}
