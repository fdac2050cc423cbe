// SPDX-License-Identifier: GPL-2.0-only

//! Access control: which client may open which device of a server.
//!
//! The administrator writes a list of rules, one per line. The first rule that matches
//! decides; without a match access is denied. So a list that was truncated allows less, never
//! more.
//!
//! [`line::Line`] parses a line, [`Rules`] decides.
//!
//! # Examples
//!
//! ```
//! use core::convert::Infallible;
//!
//! use rnbd_proto::export_rules::ClientIdentity;
//! use rnbd_proto::export_rules::Permission;
//! use rnbd_proto::export_rules::Rules;
//! use rnbd_proto::text::path_addr::Addr;
//! use rnbd_proto::wire::name::SessName;
//!
//! let rules = Rules::new(b"allow from=10.0.0.0/24 device=/dev/vg0/* ro\ndeny\n");
//! let client = ClientIdentity {
//!     session: SessName::new(b"s1").expect("a name"),
//!     peer: Addr::parse(b"ip:10.0.0.7").expect("an address").into(),
//!     key: None,
//! };
//!
//! let opens = |path: &str| -> Result<_, Infallible> {
//!     rules.decide(&client, |pattern| Ok(pattern.matches(path.as_bytes())))
//! };
//! let (permission, reason) = opens("/dev/vg0/a").unwrap();
//! assert_eq!(permission, Permission::ReadOnly);
//! assert!(reason.to_string().starts_with("by rule 1"));
//! assert_eq!(opens("/dev/sda").unwrap().0, Permission::Denied);
//! ```

mod admission;
pub mod line;

use core::fmt;

use crate::{
    auth::KeyName,
    error::{
        EACCES,
        ENOENT, //
    },
    glob::Glob,
    subnet::PeerAddr,
    wire::{
        name::SessName,
        rnbd::AccessMode, //
    }, //
};

use line::Rule;

/// How a client may open a device, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Not at all, as if the device did not exist.
    Denied,
    /// For reading.
    ReadOnly,
    /// In every mode.
    Full,
}

impl Permission {
    /// Checks a client's request to open the device in `mode`. The error is the error number
    /// (positive) for the client.
    ///
    /// To a client, a device that it may not open does not exist, and one that it may only
    /// read looks like a read-only device.
    pub const fn check(self, mode: AccessMode) -> Result<(), i32> {
        match self {
            Self::Denied => Err(ENOENT),
            Self::ReadOnly if mode.writes() => Err(EACCES),
            Self::ReadOnly | Self::Full => Ok(()),
        }
    }
}

/// The client that opens a device.
#[derive(Clone, Copy, Debug)]
pub struct ClientIdentity<'a> {
    /// Name of its session, which the client chooses freely.
    pub session: SessName<'a>,
    /// Address that it connects from.
    pub peer: PeerAddr,
    /// Name of the key that it has proven.
    pub key: Option<KeyName>,
}

/// Whether a device is one that a pattern of a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMatch {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// The pattern is a path that leads to no device at present. It may be a link to this one,
    /// which udev has not made yet.
    Unknown,
}

impl From<bool> for DeviceMatch {
    fn from(matches: bool) -> Self {
        if matches {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// The reason for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy<'a> {
    /// A rule.
    Rule {
        /// Its position in the list, from 1.
        number: usize,
        /// The rule as it was written.
        text: &'a [u8],
    },
    /// A rule that denies a path which leads to no device, and so may mean any device.
    MissingPath {
        /// Its position in the list, from 1.
        number: usize,
        /// The rule as it was written.
        text: &'a [u8],
    },
    /// No rule matches.
    NoRule,
    /// No rule matches, but one would if the client had proven its key.
    NoKey {
        /// The position of that rule in the list, from 1.
        number: usize,
        /// The rule as it was written.
        text: &'a [u8],
    },
}

impl fmt::Display for DecidedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { number, text } => write!(f, "by rule {number} '{}'", text.escape_ascii()),
            Self::MissingPath { number, text } => write!(
                f,
                "by rule {number} '{}', as that path leads to no device",
                text.escape_ascii()
            ),
            Self::NoRule => f.write_str("as no rule allows it"),
            Self::NoKey { number, text } => write!(
                f,
                "as no rule allows it without a key, as rule {number} '{}' asks for",
                text.escape_ascii()
            ),
        }
    }
}

/// A list of rules that were parsed before.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a>(&'a [u8]);

impl<'a> Rules<'a> {
    /// Creates a list from `text`, one rule per line. A malformed line denies everything.
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// Returns the rules with their numbers.
    fn iter(self) -> impl Iterator<Item = (usize, Rule<'a>)> {
        let lines = self.0.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());

        (1..).zip(lines.map(|line| Rule::parse(line).unwrap_or(Rule::deny_all(line))))
    }

    /// Returns the number of rules.
    pub fn count(self) -> usize {
        self.iter().count()
    }

    /// Returns whether the rules deny every device to `client`.
    pub fn denies_all(self, client: &ClientIdentity<'_>) -> bool {
        let mut matching = self.iter().filter(|(_, rule)| rule.matches_client(client));
        let first = matching
            .find(|(_, rule)| rule.permission != Permission::Denied || rule.device.is_none());

        first.is_none_or(|(_, rule)| rule.permission == Permission::Denied)
    }

    /// Decides how `client` may open a device, and returns the reason.
    ///
    /// `matches` returns whether the device matches a pattern, as a [`DeviceMatch`] or a `bool`.
    /// It is called only for rules that match the client. While it does not know, a `deny`
    /// denies and an `allow` does not allow.
    ///
    /// # Errors
    ///
    /// The first error of `matches`.
    pub fn decide<E, M: Into<DeviceMatch>>(
        self,
        client: &ClientIdentity<'_>,
        mut matches: impl FnMut(Glob<'a>) -> Result<M, E>,
    ) -> Result<(Permission, DecidedBy<'a>), E> {
        let mut without = DecidedBy::NoRule;
        for (number, rule) in self.iter() {
            let text = rule.text;

            if !rule.matches_client(client) {
                // Not asked about the device, which a client without the key has no right to.
                if without == DecidedBy::NoRule && rule.allows_with_key(client) {
                    without = DecidedBy::NoKey { number, text };
                }
                continue;
            }
            let found = match rule.device {
                Some(pattern) => matches(pattern)?.into(),
                None => DeviceMatch::Yes,
            };

            match (found, rule.permission) {
                (DeviceMatch::Yes, permission) => {
                    return Ok((permission, DecidedBy::Rule { number, text }));
                }
                (DeviceMatch::Unknown, Permission::Denied) => {
                    return Ok((Permission::Denied, DecidedBy::MissingPath { number, text }));
                }
                (DeviceMatch::Unknown | DeviceMatch::No, _) => {}
            }
        }
        Ok((Permission::Denied, without))
    }
}
