// SPDX-License-Identifier: GPL-2.0-only

//! What users write to and read from sysfs.
//!
//! Input comes as bytes, often with a newline at its end.

pub mod device_link;
pub mod map_device;
pub mod path_addr;

use core::fmt;

/// `text` without white space at both ends.
pub const fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// A decimal number within the range of `i32`, with or without a `-`.
pub fn number(text: &[u8]) -> Option<i32> {
    let (digits, sign) = match trim(text) {
        [b'-', digits @ ..] => (digits, -1),
        digits => (digits, 1),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i32, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        let digit = i32::try_from(digit).ok()?.checked_mul(sign)?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A number as the files of the C client take it: decimal, with or without a sign,
/// within the range of `i32`; no white space but one newline at the end.
///
/// C: [`kstrtoint`](srctree/lib/kstrtox.c).
pub fn integer(text: &[u8]) -> Option<i32> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = match line {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    core::str::from_utf8(line).ok()?.parse().ok()
}

/// A number as the kernel takes it where the base is open: decimal, octal with a
/// leading `0`, hexadecimal with `0x`; perhaps with a `+`, and no white space but one
/// newline at the end.
///
/// C: [`kstrtoull`](srctree/lib/kstrtox.c) of base 0.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let line = line.strip_prefix(b"+").unwrap_or(line);
    let (digits, base) = match line {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    if !digits.first()?.is_ascii_hexdigit() {
        return None;
    }
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, base).ok()
}

/// User input for one line of the log: escaped, and cut if it is long.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 64;

        match self.0.get(..MAX) {
            Some(start) if self.0.len() > MAX => write!(f, "{}...", start.escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// How to unmap a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmapMode {
    /// Only if nobody has it open.
    Normal,
    /// In any case; what is in flight fails.
    Force,
}

impl UnmapMode {
    /// Reads `normal` or `force`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match trim(text) {
            b"normal" => Some(Self::Normal),
            b"force" => Some(Self::Force),
            _ => None,
        }
    }
}

/// Whether `text` is the `1` that files without any other value take.
pub fn is_one(text: &[u8]) -> bool {
    trim(text) == b"1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers() {
        let cases: [(&str, Option<u64>); 14] = [
            ("0", Some(0)),
            ("2097152\n", Some(2_097_152)),
            ("+7", Some(7)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("++1", None),
            ("", None),
            ("0x", None),
            ("08", None),
            (" 1", None),
            ("1 \n", None),
        ];
        for (text, number) in cases {
            assert_eq!(unsigned(text.as_bytes()), number, "{text:?}");
        }
    }
}
