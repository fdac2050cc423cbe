// SPDX-License-Identifier: GPL-2.0-only

//! Contents of sysfs files, as users write and read them.
//!
//! Input is bytes, often with a newline at the end.

pub mod device_link;
pub mod map_device;
pub mod path_addr;

use core::{
    fmt,
    num::{
        IntErrorKind,
        ParseIntError, //
    }, //
};

use crate::error::{
    EINVAL,
    ERANGE, //
};

/// Returns `text` without white space at both ends.
pub(crate) const fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Parses the value of an option: decimal, octal after a `0` or hexadecimal after `0x`, with
/// or without a `-`, within the range of `i32`.
///
/// C: [`match_int`](srctree/lib/parser.c).
fn parse_option_number(text: &[u8]) -> Option<i32> {
    let (digits, sign) = match text {
        [b'-', digits @ ..] => (digits, -1),
        digits => (digits, 1),
    };
    let (digits, base) = match digits {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i32, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        let digit = i32::try_from(digit).ok()?.checked_mul(sign)?;
        value
            .checked_mul(i32::try_from(base).ok()?)?
            .checked_add(digit)
    })
}

/// Why a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseNumberError {
    /// Not a number, or not one that the file takes.
    Malformed,
    /// A number that does not fit into the type.
    Range,
}

impl ParseNumberError {
    /// Returns the error number (positive) that the `kstrto*` functions return.
    pub const fn errno(self) -> i32 {
        match self {
            Self::Malformed => EINVAL,
            Self::Range => ERANGE,
        }
    }
}

impl From<ParseIntError> for ParseNumberError {
    fn from(e: ParseIntError) -> Self {
        match e.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Self::Range,
            _ => Self::Malformed,
        }
    }
}

/// Parses a signed number: decimal, within the range of `i32`. White space is refused, but
/// for one newline at the end.
///
/// C: [`kstrtoint`](srctree/lib/kstrtox.c) of base 10.
pub fn parse_i32(text: &[u8]) -> Result<i32, ParseNumberError> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = match line {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(ParseNumberError::Malformed);
    }
    let line = core::str::from_utf8(line).map_err(|_| ParseNumberError::Malformed)?;
    Ok(line.parse()?)
}

/// Parses an unsigned number: decimal, octal after a `0` or hexadecimal after `0x`, perhaps
/// with a `+`. White space is refused, but for one newline at the end.
///
/// C: [`kstrtoull`](srctree/lib/kstrtox.c) of base 0.
pub fn parse_u64(text: &[u8]) -> Result<u64, ParseNumberError> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let line = line.strip_prefix(b"+").unwrap_or(line);
    let (digits, base) = match line {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    if !digits.first().is_some_and(u8::is_ascii_hexdigit) {
        return Err(ParseNumberError::Malformed);
    }
    let digits = core::str::from_utf8(digits).map_err(|_| ParseNumberError::Malformed)?;
    Ok(u64::from_str_radix(digits, base)?)
}

/// Quotes user input in a log line: escapes it, and truncates it if it is long.
pub(crate) struct Quoted<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Quoted<'_> {
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
    /// Fails if the device is open.
    Normal,
    /// Unmaps an open device, too; requests in flight fail.
    Force,
}

impl UnmapMode {
    /// Parses `normal` or `force`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match trim(text) {
            b"normal" => Some(Self::Normal),
            b"force" => Some(Self::Force),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unsigned_numbers() {
        const BAD: Result<u64, ParseNumberError> = Err(ParseNumberError::Malformed);
        let cases = [
            ("0", Ok(0)),
            ("2097152\n", Ok(2_097_152)),
            ("+7", Ok(7)),
            ("010", Ok(8)),
            ("0x1F", Ok(31)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(ParseNumberError::Range)),
            ("0x10000000000000000", Err(ParseNumberError::Range)),
            ("-1", BAD),
            ("++1", BAD),
            ("", BAD),
            ("0x", BAD),
            ("08", BAD),
            (" 1", BAD),
            ("1 \n", BAD),
        ];
        for (text, number) in cases {
            assert_eq!(parse_u64(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn signed_numbers() {
        for (word, number) in [
            ("0", Some(0)),
            ("-1\n", Some(-1)),
            ("2147483647", Some(i32::MAX)),
            ("-2147483648", Some(i32::MIN)),
            ("2147483648", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("1 2", None),
        ] {
            let option = word.trim_ascii_end();
            assert_eq!(parse_option_number(option.as_bytes()), number, "{word}");
            assert_eq!(parse_i32(word.as_bytes()).ok(), number, "{word}");
        }
        // Other bases, of options only.
        for (word, number) in [
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("-0x1", Some(-1)),
            ("-0x80000000", Some(i32::MIN)),
            ("0x80000000", None),
            ("010", Some(8)),
            ("-01", Some(-1)),
            ("00", Some(0)),
            ("08", None),
            ("0x", None),
            ("x10", None),
            ("10h", None),
            ("+1", None),
        ] {
            assert_eq!(parse_option_number(word.as_bytes()), number, "{word}");
        }
        assert_eq!(parse_i32(b"0x10"), Err(ParseNumberError::Malformed));
        assert_eq!(parse_i32(b"010"), Ok(10));
        for bad in [&b" 1"[..], b"1 ", b"1\n\n", b"\n", b"+-1", b"1\xff", b"1\0"] {
            assert_eq!(parse_i32(bad), Err(ParseNumberError::Malformed));
        }
        for large in ["2147483648\n", "-2147483649", "+99999999999999999999"] {
            let refused = parse_i32(large.as_bytes());
            assert_eq!(refused, Err(ParseNumberError::Range), "{large}");
            assert_eq!(refused.map_err(ParseNumberError::errno), Err(34));
        }
    }

    proptest! {
        #[test]
        fn numbers_are_parsed_as_printed(n: i32) {
            prop_assert_eq!(parse_option_number(n.to_string().as_bytes()), Some(n));
            prop_assert_eq!(parse_i32(n.to_string().as_bytes()), Ok(n));
        }

        /// The kernel and the standard library agree on what an integer is.
        #[test]
        fn integers(word in "[+-]?[0-9]{0,12}", newline: bool) {
            let line = format!("{word}{}", if newline { "\n" } else { "" });
            prop_assert_eq!(parse_i32(line.as_bytes()).ok(), word.parse().ok());
        }
    }
}
