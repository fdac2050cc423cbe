// SPDX-License-Identifier: GPL-2.0-only

//! Patterns for names.
//!
//! | | stands for |
//! |---|---|
//! | `?` | one byte, but no `/` |
//! | `*` | any number of bytes, none of them a `/` |
//! | `**` | any number of bytes |
//!
//! Every other byte stands for itself. There is no escape: a `\` is a `\`, as in the
//! names that udev makes, and what a pattern cannot say, such as a space, a `?` covers.

/// Longest pattern, in bytes.
pub(crate) const MAX_PATTERN: usize = 255;

/// A pattern.
///
/// # Invariants
///
/// 1 to [`MAX_PATTERN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glob<'a>(&'a [u8]);

/// What one byte of a pattern asks for.
#[derive(Clone, Copy)]
enum Element {
    Byte(u8),
    One,
    /// Either star of a `**` is one that crosses slashes.
    Star {
        slashes: bool,
    },
}

impl<'a> Glob<'a> {
    /// The pattern, unless it is empty or too long.
    pub const fn new(pattern: &'a [u8]) -> Option<Self> {
        if pattern.is_empty() || pattern.len() > MAX_PATTERN {
            return None;
        }
        // INVARIANT: Checked just above.
        Some(Self(pattern))
    }

    /// The pattern as it is written.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The one name that it matches, if there are no others.
    pub fn literal(self) -> Option<&'a [u8]> {
        let wild = self.0.iter().any(|byte| matches!(byte, b'*' | b'?'));

        (!wild).then_some(self.0)
    }

    /// Whether all of `name` matches.
    ///
    /// Takes time in proportion to the product of both lengths, whatever they are.
    pub fn matches(self, name: &[u8]) -> bool {
        // Which beginnings of the pattern match what was read of the name, by length.
        let mut live = [false; MAX_PATTERN + 1];

        self.read(&mut live, None);
        for byte in name {
            self.read(&mut live, Some(*byte));
        }
        live.get(self.0.len()).is_some_and(|whole| *whole)
    }

    /// Goes on to the next byte of the name; nothing is where it begins.
    fn read(self, live: &mut [bool], byte: Option<u8>) {
        // Whether the beginning one shorter was live and its next element took the byte.
        let mut reached = byte.is_none();
        // Whether the beginning one shorter is live and its next element takes nothing.
        let mut skipped = false;
        let elements = (0..self.0.len()).map(|at| self.element(at));

        for (state, element) in live.iter_mut().zip(elements.chain([None])) {
            let was = *state;
            let takes = was && matches!((element, byte), (Some(e), Some(b)) if e.takes(b));
            let star = matches!(element, Some(Element::Star { .. }));

            *state = reached || skipped || (takes && star);
            reached = takes && !star;
            skipped = *state && star;
        }
    }

    fn element(self, at: usize) -> Option<Element> {
        let is_star = |at: usize| self.0.get(at) == Some(&b'*');

        Some(match *self.0.get(at)? {
            b'*' => Element::Star {
                slashes: is_star(at.wrapping_add(1)) || is_star(at.wrapping_sub(1)),
            },
            b'?' => Element::One,
            byte => Element::Byte(byte),
        })
    }
}

impl Element {
    const fn takes(self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => byte == own,
            Self::One => byte != b'/',
            Self::Star { slashes } => slashes || byte != b'/',
        }
    }
}
