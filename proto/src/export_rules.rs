// SPDX-License-Identifier: GPL-2.0-only

//! Who may open which device of a server.
//!
//! A list of rules, one on a line, of which the first that fits decides. What none
//! fits is denied: a list that is cut off anywhere allows less, never more.
//!
//! [`line::Line`] reads what is written, [`Rules`] decides.

pub mod line;

use core::fmt;

use crate::error::EACCES;
use crate::error::ENOENT;
use crate::glob::Glob;
use crate::subnet::PeerAddr;
use crate::wire::name::SessName;
use crate::wire::rnbd::AccessMode;
use line::Rule;

/// How a device may be opened. In ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Not at all, as if it was not there.
    Denied,
    /// To be read.
    ReadOnly,
    /// In every mode.
    Full,
}

impl Permission {
    /// The error number (positive) for a client that asks for `mode`, if it is refused.
    ///
    /// What a client may not see is not there, for all that it can tell. What it may
    /// only read looks like a device that is read-only.
    pub const fn check(self, mode: AccessMode) -> Result<(), i32> {
        match self {
            Self::Denied => Err(ENOENT),
            Self::ReadOnly if mode.writes() => Err(EACCES),
            Self::ReadOnly | Self::Full => Ok(()),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct ClientIdentity<'a> {
    /// What it calls its session, which can be anything.
    pub session: SessName<'a>,
    /// Where it connects from.
    pub peer: PeerAddr,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy<'a> {
    /// A rule.
    Rule {
        /// Its place in the list, from 1.
        number: usize,
        /// As it was written.
        text: &'a [u8],
    },
    /// No rule fits.
    NoRule,
}

impl fmt::Display for DecidedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { number, text } => write!(f, "by rule {number} '{}'", text.escape_ascii()),
            Self::NoRule => f.write_str("as no rule allows it"),
        }
    }
}

/// A list of rules, of which each was read before.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a>(&'a [u8]);

impl<'a> Rules<'a> {
    /// The rules in `text`, one on a line. A line that is none denies everything.
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The rules, with their numbers.
    fn iter(self) -> impl Iterator<Item = (usize, Rule<'a>)> {
        let lines = self.0.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());

        (1..).zip(lines.map(|line| Rule::parse(line).unwrap_or(Rule::deny_all(line))))
    }

    /// Number of rules.
    pub fn count(self) -> usize {
        self.iter().count()
    }

    /// Whether `client` is denied every device, whichever it is.
    pub fn denies_all(self, client: &ClientIdentity<'_>) -> bool {
        let mut fitting = self.iter().filter(|(_, rule)| rule.speaks_of(client));
        let first =
            fitting.find(|(_, rule)| rule.access != Permission::Denied || rule.device.is_none());

        first.is_none_or(|(_, rule)| rule.access == Permission::Denied)
    }

    /// How `client` may open the device that a pattern `is` of, and why.
    ///
    /// # Errors
    ///
    /// What `is` says, which is asked for the rules that could decide only.
    pub fn decide<E>(
        self,
        client: &ClientIdentity<'_>,
        mut is: impl FnMut(Glob<'a>) -> Result<bool, E>,
    ) -> Result<(Permission, DecidedBy<'a>), E> {
        for (number, rule) in self.iter() {
            let fits = rule.speaks_of(client)
                && match rule.device {
                    Some(pattern) => is(pattern)?,
                    None => true,
                };

            if fits {
                let text = rule.text;
                return Ok((rule.access, DecidedBy::Rule { number, text }));
            }
        }
        Ok((Permission::Denied, DecidedBy::NoRule))
    }
}
