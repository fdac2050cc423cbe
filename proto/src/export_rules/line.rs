// SPDX-License-Identifier: GPL-2.0-only

//! Lines written to `export_rules`.
//!
//! ```text
//! allow|deny [session=<pattern>] [from=<addresses>[,<addresses>...]] [key=<name>]
//!            [device=<pattern>] [ro]
//! clear
//! default
//! ```
//!
//! White space separates words. Empty lines and lines that begin with `#` are ignored.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::export_rules::line::Line;
//!
//! let Ok(Line::Rule(rule)) = Line::parse(b"  allow session=s* ro\n") else {
//!     panic!("a rule");
//! };
//! assert_eq!(rule.text, b"allow session=s* ro");
//! assert_eq!(Line::parse(b"clear"), Ok(Line::Clear));
//!
//! let refused = Line::parse(b"allow user=a").unwrap_err();
//! assert_eq!(refused.to_string(), "unknown word 'user=a'");
//! ```

use core::fmt;

use crate::{
    auth::{
        KeyName,
        MAX_KEY_NAME, //
    },
    error::EINVAL,
    glob::{
        Glob,
        MAX_PATTERN, //
    },
    subnet::{
        PeerAddr,
        SubnetError,
        Subnets, //
    },
    text::{
        trim,
        Quoted, //
    },
};

use super::{
    ClientIdentity,
    Permission, //
};

/// Why a line was refused. [`fmt::Display`] prints it for a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError<'a> {
    /// The line contains control characters.
    Control,
    /// The first word is unknown.
    Verb(&'a [u8]),
    /// Another word is unknown.
    Word(&'a [u8]),
    /// This condition is given twice.
    Twice(&'static str),
    /// The value of this condition is empty or too long.
    Length(&'static str),
    /// No name of a session can match the pattern.
    Session(&'a [u8]),
    /// No path of a device can match the pattern.
    Device(&'a [u8]),
    /// This range of addresses is malformed.
    From(&'a [u8], SubnetError),
    /// Not the name of a key.
    Key(&'a [u8]),
    /// `ro` is given with `deny`.
    ReadOnlyDeny,
}

impl LineError<'_> {
    /// Returns the error number (positive) for the writer.
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
                Quoted(word)
            ),
            Self::Word(word) => write!(f, "unknown word '{}'", Quoted(word)),
            Self::Twice(word) => write!(f, "{word} given twice"),
            Self::Length(word) => write!(f, "{word} is empty or longer than {MAX_PATTERN} bytes"),
            Self::Session(value) => write!(
                f,
                "session '{}': such names have neither / nor .",
                Quoted(value)
            ),
            Self::Device(value) => write!(
                f,
                "device '{}' is not an absolute path without //, . and ..",
                Quoted(value)
            ),
            Self::From(value, reason) => write!(f, "from '{}' {reason}", Quoted(value)),
            Self::Key(value) => write!(
                f,
                "key '{}' is not 1 to {MAX_KEY_NAME} letters, digits, -, _ and .",
                Quoted(value)
            ),
            Self::ReadOnlyDeny => f.write_str("ro goes with allow only"),
        }
    }
}

/// A parsed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Empty, or a comment.
    Blank,
    /// Start a list without rules.
    Clear,
    /// Remove the list, so that the default applies.
    Default,
    /// Append a rule.
    Rule(Rule<'a>),
}

impl<'a> Line<'a> {
    /// Parses a line.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError<'a>> {
        let mut words = words(line);

        let line = match words.next() {
            None | Some([b'#', ..]) => return Ok(Self::Blank),
            Some(b"clear") => Self::Clear,
            Some(b"default") => Self::Default,
            Some(_) => return Rule::parse(line).map(Self::Rule),
        };
        match words.next() {
            None => Ok(line),
            Some(word) => Err(LineError::Word(word)),
        }
    }
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The rule as it was written, without white space at both ends.
    pub text: &'a [u8],
    /// What it lets clients do.
    pub permission: Permission,
    session: Option<Glob<'a>>,
    from: Option<Subnets<'a>>,
    key: Option<KeyName>,
    /// The devices that it is about; all if there is no pattern.
    pub device: Option<Glob<'a>>,
}

impl<'a> Rule<'a> {
    /// Parses a rule.
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
            permission: match verb {
                b"allow" => Permission::Full,
                b"deny" => Permission::Denied,
                _ => return Err(LineError::Verb(verb)),
            },
            ..Self::deny_all(text)
        };

        for word in words {
            rule.parse_word(word)?;
        }
        Ok(rule)
    }

    /// Returns a rule that denies all devices to all clients.
    pub(super) const fn deny_all(text: &'a [u8]) -> Self {
        Self {
            text,
            permission: Permission::Denied,
            session: None,
            from: None,
            key: None,
            device: None,
        }
    }

    /// Parses one more word.
    fn parse_word(&mut self, word: &'a [u8]) -> Result<(), LineError<'a>> {
        if word == b"ro" {
            self.permission = match self.permission {
                Permission::Full => Permission::ReadOnly,
                Permission::ReadOnly => return Err(LineError::Twice("ro")),
                Permission::Denied => return Err(LineError::ReadOnlyDeny),
            };
        } else if let Some(value) = word.strip_prefix(b"session=") {
            let pattern = pattern("session", value)?;

            if value.contains(&b'/') || value.contains(&b'.') {
                return Err(LineError::Session(value));
            }
            set_once("session", &mut self.session, pattern)?;
        } else if let Some(value) = word.strip_prefix(b"device=") {
            let pattern = pattern("device", value)?;

            if !is_path(value) {
                return Err(LineError::Device(value));
            }
            set_once("device", &mut self.device, pattern)?;
        } else if let Some(value) = word.strip_prefix(b"from=") {
            let from =
                Subnets::parse(value).map_err(|(range, error)| LineError::From(range, error))?;

            set_once("from", &mut self.from, from)?;
        } else if let Some(value) = word.strip_prefix(b"key=") {
            let key = KeyName::new(value).ok_or(LineError::Key(value))?;

            set_once("key", &mut self.key, key)?;
        } else {
            return Err(LineError::Word(word));
        }
        Ok(())
    }

    /// Returns the pattern for names of sessions; all names match if there is none.
    pub(super) const fn session(&self) -> Option<Glob<'a>> {
        self.session
    }

    /// Returns whether the rule applies to clients at `peer`. It may still not match the session
    /// or the device.
    pub(super) fn matches_peer(&self, peer: PeerAddr) -> bool {
        self.from.is_none_or(|from| from.contains(peer))
    }

    /// Returns whether the rule applies to `client`. It may still not match the device.
    pub(super) fn matches_client(&self, client: &ClientIdentity<'_>) -> bool {
        self.matches_but_for_key(client) && self.matches_key(client.key)
    }

    /// Returns whether the rule would allow something to `client` if that had proven the key, which
    /// it has not.
    pub(super) fn allows_with_key(&self, client: &ClientIdentity<'_>) -> bool {
        self.permission != Permission::Denied
            && self.matches_but_for_key(client)
            && !self.matches_key(client.key)
    }

    /// Returns the key that a client must have proven for it to match, if any.
    pub const fn key(&self) -> Option<KeyName> {
        self.key
    }

    /// Returns whether the rule is for clients that have proven `key`, or none.
    pub(super) fn matches_key(&self, key: Option<KeyName>) -> bool {
        self.key.is_none() || self.key == key
    }

    fn matches_but_for_key(&self, client: &ClientIdentity<'_>) -> bool {
        let session = client.session.as_bytes();

        self.session.is_none_or(|pattern| pattern.matches(session))
            && self.matches_peer(client.peer)
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

fn pattern<'a>(key: &'static str, value: &'a [u8]) -> Result<Glob<'a>, LineError<'a>> {
    Glob::new(value).ok_or(LineError::Length(key))
}

fn set_once<'a, T>(key: &'static str, to: &mut Option<T>, value: T) -> Result<(), LineError<'a>> {
    match to.replace(value) {
        None => Ok(()),
        Some(_) => Err(LineError::Twice(key)),
    }
}

/// Returns whether an absolute, normalized path can match a pattern.
fn is_path(pattern: &[u8]) -> bool {
    let below = match pattern {
        [b'/', below @ ..] => below,
        // A `**` matches the first slash, too.
        [b'*', b'*', ..] => pattern,
        _ => return false,
    };

    below
        .split(|byte| *byte == b'/')
        .all(|component| !matches!(component, b"" | b"." | b".."))
}
