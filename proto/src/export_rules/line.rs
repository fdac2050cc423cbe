// SPDX-License-Identifier: GPL-2.0-only

//! The lines that `export_rules` takes.
//!
//! ```text
//! allow|deny [session=<pattern>] [from=<addresses>[,<addresses>...]] [device=<pattern>] [ro]
//! clear
//! default
//! ```
//!
//! White space separates words. Empty lines and those that begin with `#` say nothing.

use core::fmt;

use super::ClientIdentity;
use super::Permission;
use crate::error::EINVAL;
use crate::glob::Glob;
use crate::glob::MAX_PATTERN;
use crate::subnet::SubnetError;
use crate::subnet::Subnets;
use crate::text::trim;
use crate::text::Excerpt;

/// Why a line was refused. [`fmt::Display`] gives the reason for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError<'a> {
    /// Has control characters.
    Control,
    /// Begins with a word that it cannot begin with.
    Verb(&'a [u8]),
    /// Has a word that means nothing there.
    Word(&'a [u8]),
    /// Says this twice.
    Twice(&'static str),
    /// This is without a value, or with one that is too long.
    Length(&'static str),
    /// A pattern that the name of no session matches.
    Session(&'a [u8]),
    /// A pattern that no path of a device matches.
    Device(&'a [u8]),
    /// Not addresses.
    From(&'a [u8], SubnetError),
    /// `ro` with `deny`.
    ReadOnlyDeny,
}

impl LineError<'_> {
    /// The error number (positive) for the writer.
    pub const fn errno(&self) -> i32 {
        EINVAL
    }
}

impl fmt::Display for LineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Control => f.write_str("has control characters"),
            Self::Verb(word) => write!(
                f,
                "'{}' is none of allow, deny, clear, default",
                Excerpt(word)
            ),
            Self::Word(word) => write!(f, "unknown word '{}'", Excerpt(word)),
            Self::Twice(word) => write!(f, "{word} given twice"),
            Self::Length(word) => write!(f, "{word} is empty or longer than {MAX_PATTERN} bytes"),
            Self::Session(value) => write!(
                f,
                "session '{}': such names have neither / nor .",
                Excerpt(value)
            ),
            Self::Device(value) => write!(
                f,
                "device '{}' is not an absolute path without //, . and ..",
                Excerpt(value)
            ),
            Self::From(value, reason) => write!(f, "from '{}' {reason}", Excerpt(value)),
            Self::ReadOnlyDeny => f.write_str("ro goes with allow only"),
        }
    }
}

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Nothing.
    Blank,
    /// A list without rules, from here on.
    Clear,
    /// No list.
    Default,
    /// One more rule at the end.
    Rule(Rule<'a>),
}

impl<'a> Line<'a> {
    /// Reads one line, without its end.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError<'a>> {
        let mut words = words(line);

        let done = match words.next() {
            None | Some([b'#', ..]) => return Ok(Self::Blank),
            Some(b"clear") => Self::Clear,
            Some(b"default") => Self::Default,
            Some(_) => return Rule::parse(line).map(Self::Rule),
        };
        match words.next() {
            None => Ok(done),
            Some(word) => Err(LineError::Word(word)),
        }
    }
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// As it was written, without white space at its ends.
    pub text: &'a [u8],
    pub(super) access: Permission,
    session: Option<Glob<'a>>,
    from: Option<Subnets<'a>>,
    pub(super) device: Option<Glob<'a>>,
}

impl<'a> Rule<'a> {
    /// Reads a line that is a rule.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError<'a>> {
        let text = trim(line);

        if text
            .iter()
            .any(|byte| !byte.is_ascii_whitespace() && byte.is_ascii_control())
        {
            return Err(LineError::Control);
        }
        let mut words = words(text);
        let verb = words.next().unwrap_or_default();
        let mut rule = Self {
            access: match verb {
                b"allow" => Permission::Full,
                b"deny" => Permission::Denied,
                _ => return Err(LineError::Verb(verb)),
            },
            ..Self::deny_all(text)
        };

        for word in words {
            rule.take(word)?;
        }
        Ok(rule)
    }

    /// What denies everything to everybody.
    pub(super) const fn deny_all(text: &'a [u8]) -> Self {
        Self {
            text,
            access: Permission::Denied,
            session: None,
            from: None,
            device: None,
        }
    }

    /// Takes one more word in.
    fn take(&mut self, word: &'a [u8]) -> Result<(), LineError<'a>> {
        if word == b"ro" {
            self.access = match self.access {
                Permission::Full => Permission::ReadOnly,
                Permission::ReadOnly => return Err(LineError::Twice("ro")),
                Permission::Denied => return Err(LineError::ReadOnlyDeny),
            };
        } else if let Some(value) = word.strip_prefix(b"session=") {
            let pattern = pattern("session", value)?;

            if value.contains(&b'/') || value.contains(&b'.') {
                return Err(LineError::Session(value));
            }
            once("session", &mut self.session, pattern)?;
        } else if let Some(value) = word.strip_prefix(b"device=") {
            let pattern = pattern("device", value)?;

            if !is_path(value) {
                return Err(LineError::Device(value));
            }
            once("device", &mut self.device, pattern)?;
        } else if let Some(value) = word.strip_prefix(b"from=") {
            let from = Subnets::parse(value).map_err(|(bad, why)| LineError::From(bad, why))?;

            once("from", &mut self.from, from)?;
        } else {
            return Err(LineError::Word(word));
        }
        Ok(())
    }

    /// Whether it is about `client`, and perhaps about the device.
    pub(super) fn speaks_of(&self, client: &ClientIdentity<'_>) -> bool {
        let session = client.session.as_bytes();

        self.session.is_none_or(|pattern| pattern.matches(session))
            && self.from.is_none_or(|from| from.contain(client.peer))
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

fn pattern<'a>(what: &'static str, value: &'a [u8]) -> Result<Glob<'a>, LineError<'a>> {
    Glob::new(value).ok_or(LineError::Length(what))
}

fn once<'a, T>(what: &'static str, to: &mut Option<T>, value: T) -> Result<(), LineError<'a>> {
    match to.replace(value) {
        None => Ok(()),
        Some(_) => Err(LineError::Twice(what)),
    }
}

/// Whether a pattern can be that of a path without detours.
fn is_path(pattern: &[u8]) -> bool {
    let below = match pattern {
        [b'/', below @ ..] => below,
        // These begin with a slash, too.
        [b'*', b'*', ..] => pattern,
        _ => return false,
    };

    below
        .split(|byte| *byte == b'/')
        .all(|component| !matches!(component, b"" | b"." | b".."))
}
