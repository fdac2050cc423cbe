// SPDX-License-Identifier: GPL-2.0-only

//! Options of `map_device`.

use core::fmt;

use super::device_link::DeviceLink;
use super::path_addr::AddrError;
use super::path_addr::PathAddr;
use super::Excerpt;
use crate::error::EINVAL;
use crate::wire::name::DevicePath;
use crate::wire::name::SessName;
use crate::wire::name::MAX_NAME;
use crate::wire::rnbd::AccessMode;
use crate::wire::rnbd::DEFAULT_PORT;

/// Most `path=` options of one line.
pub const MAX_PATHS: usize = 6;

/// What the file prints when it is read: a line with all options, those that may be left
/// out in brackets, and how an address is written. The form is that of the C driver.
pub const USAGE: &str = concat!(
    "Usage: echo \"sessname=<session> path=<[src@]dst> [path=<[src@]dst> ...] ",
    "device_path=<path on the server> [dest_port=<port>] ",
    "[access_mode=<ro|rw|migration>] [nr_poll_queues=<number>]\" > map_device\n",
    "\n",
    "addr ::= [ ip:<ipv4> | ip:<ipv6>[%<interface>] | gid:<gid> ]\n",
);

/// An option of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// `sessname=`
    SessName,
    /// `path=`
    Path,
    /// `device_path=`
    DevicePath,
    /// `dest_port=`
    DestPort,
    /// `access_mode=`
    AccessMode,
    /// `nr_poll_queues=`
    NrPollQueues,
}

impl Opt {
    const ALL: [Self; 6] = [
        Self::SessName,
        Self::Path,
        Self::DevicePath,
        Self::DestPort,
        Self::AccessMode,
        Self::NrPollQueues,
    ];

    /// The option's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessName => "sessname",
            Self::Path => "path",
            Self::DevicePath => "device_path",
            Self::DestPort => "dest_port",
            Self::AccessMode => "access_mode",
            Self::NrPollQueues => "nr_poll_queues",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Splits `word` into an option and its value.
    fn split(word: &[u8]) -> Option<(Self, &[u8])> {
        let at = word.iter().position(|&b| b == b'=')?;
        let (name, value) = word.split_at_checked(at)?;
        let opt = Self::ALL
            .into_iter()
            .find(|o| o.name().as_bytes() == name)?;
        Some((opt, value.get(1..)?))
    }
}

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Required, but not there.
    Missing,
    /// There more than once.
    Twice,
    /// Without a value.
    Empty,
    /// Longer than a name may be.
    TooLong,
    /// With bytes that such a name must not have.
    BadName,
    /// More paths than allowed.
    TooMany,
    /// The same path twice.
    SamePath,
    /// Not an address.
    Addr(AddrError),
    /// Not a number, or out of range.
    Range {
        /// Smallest value.
        min: i32,
        /// Largest value.
        max: i32,
    },
    /// Neither `ro`, `rw` nor `migration`.
    Mode,
    /// With the name of the session, too long for the name of a link.
    LinkTooLong,
}

/// Why a line was refused. [`fmt::Display`] gives one line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError<'a> {
    /// Something that is no option.
    Unknown(&'a [u8]),
    /// An option with something wrong.
    Bad {
        /// Which one.
        option: Opt,
        /// Its value, empty if there is none.
        value: &'a [u8],
        /// What is wrong.
        reason: Reason,
    },
}

impl OptionError<'_> {
    /// The error number (positive) for the writer.
    pub const fn errno(&self) -> i32 {
        EINVAL
    }
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (option, value, reason) = match self {
            Self::Unknown(word) => return write!(f, "unknown option '{}'", Excerpt(word)),
            Self::Bad {
                option,
                value,
                reason,
            } => (option.name(), Excerpt(value), reason),
        };
        match reason {
            Reason::Missing => write!(f, "option {option} is missing"),
            Reason::Twice => write!(f, "option {option} given twice"),
            Reason::Empty => write!(f, "option {option} has no value"),
            Reason::TooLong => write!(f, "option {option} is longer than {MAX_NAME} bytes"),
            Reason::BadName => write!(f, "option {option}: bad name '{value}'"),
            Reason::TooMany => write!(f, "option {option} given more than {MAX_PATHS} times"),
            Reason::SamePath => write!(f, "option {option}: '{value}' given twice"),
            Reason::Addr(why) => write!(f, "option {option}: '{value}' {why}"),
            Reason::Range { min, max } => {
                write!(f, "option {option}: '{value}' is not within {min}..{max}")
            }
            Reason::Mode => write!(f, "option {option}: '{value}' is not ro, rw or migration"),
            Reason::LinkTooLong => write!(
                f,
                "option {option} is longer than {MAX_NAME} bytes together with sessname"
            ),
        }
    }
}

/// A line for `map_device`.
#[derive(Clone, Copy, Debug)]
pub struct MapOptions<'a> {
    /// Name of the session.
    pub sessname: SessName<'a>,
    /// Path of the device on the server.
    pub device_path: DevicePath<'a>,
    /// Name of the link to the device.
    pub link: DeviceLink<'a>,
    /// Port of the server, for all paths.
    pub dest_port: u16,
    /// How to open the device.
    pub access_mode: AccessMode,
    /// Number of queues that are polled.
    pub nr_poll_queues: u32,
    paths: [Option<PathAddr<'a>>; MAX_PATHS],
}

impl<'a> MapOptions<'a> {
    /// Reads a line on a machine with `nr_cpus` processors.
    pub fn parse(line: &'a [u8], nr_cpus: u32) -> Result<Self, OptionError<'a>> {
        let mut raw = Raw::default();
        let words = line.split(u8::is_ascii_whitespace);
        for word in words.filter(|word| !word.is_empty()) {
            raw.take(word, nr_cpus)?;
        }

        let sessname = raw.sessname.ok_or_else(|| missing(Opt::SessName))?;
        let device_path = raw.device_path.ok_or_else(|| missing(Opt::DevicePath))?;
        let link = DeviceLink::new(device_path, sessname).ok_or(OptionError::Bad {
            option: Opt::DevicePath,
            value: device_path.as_bytes(),
            reason: Reason::LinkTooLong,
        })?;
        Ok(Self {
            sessname,
            device_path,
            link,
            dest_port: raw.dest_port.unwrap_or(DEFAULT_PORT),
            access_mode: raw.access_mode.unwrap_or(AccessMode::ReadWrite),
            nr_poll_queues: raw.nr_poll_queues,
            paths: raw.paths,
        })
    }

    /// The paths in the order given; none if the session is to exist already.
    pub fn paths(&self) -> impl Iterator<Item = PathAddr<'a>> + '_ {
        self.paths.iter().flatten().copied()
    }
}

/// What was read so far.
#[derive(Default)]
struct Raw<'a> {
    /// Bits of the options seen.
    seen: u32,
    sessname: Option<SessName<'a>>,
    device_path: Option<DevicePath<'a>>,
    dest_port: Option<u16>,
    access_mode: Option<AccessMode>,
    nr_poll_queues: u32,
    paths: [Option<PathAddr<'a>>; MAX_PATHS],
}

impl<'a> Raw<'a> {
    /// Takes one option in.
    fn take(&mut self, word: &'a [u8], nr_cpus: u32) -> Result<(), OptionError<'a>> {
        let (option, value) = Opt::split(word).ok_or(OptionError::Unknown(word))?;
        self.set(option, value, nr_cpus)
            .map_err(|reason| OptionError::Bad {
                option,
                value,
                reason,
            })
    }

    fn set(&mut self, option: Opt, value: &'a [u8], nr_cpus: u32) -> Result<(), Reason> {
        if self.seen & option.bit() != 0 && option != Opt::Path {
            return Err(Reason::Twice);
        }
        self.seen |= option.bit();
        if value.is_empty() {
            return Err(Reason::Empty);
        }
        match option {
            Opt::SessName => self.sessname = Some(name(value, SessName::new)?),
            Opt::DevicePath => self.device_path = Some(name(value, DevicePath::new)?),
            Opt::Path => self.add_path(value)?,
            Opt::DestPort => {
                let (min, max) = (0, u16::MAX.into());
                let port = super::parse_option_number(value).and_then(|n| u16::try_from(n).ok());
                self.dest_port = Some(port.ok_or(Reason::Range { min, max })?);
            }
            Opt::AccessMode => {
                self.access_mode = Some(AccessMode::from_bytes(value).ok_or(Reason::Mode)?);
            }
            Opt::NrPollQueues => {
                let (min, max) = (-1, i32::try_from(nr_cpus).unwrap_or(i32::MAX));
                self.nr_poll_queues = match super::parse_option_number(value) {
                    Some(-1) => nr_cpus,
                    Some(n) if (0..=max).contains(&n) => n.unsigned_abs(),
                    _ => return Err(Reason::Range { min, max }),
                };
            }
        }
        Ok(())
    }

    fn add_path(&mut self, value: &'a [u8]) -> Result<(), Reason> {
        let path = PathAddr::parse(value).map_err(Reason::Addr)?;
        if self.paths.iter().flatten().any(|known| *known == path) {
            return Err(Reason::SamePath);
        }
        let free = self.paths.iter_mut().find(|slot| slot.is_none());
        *free.ok_or(Reason::TooMany)? = Some(path);
        Ok(())
    }
}

fn missing(option: Opt) -> OptionError<'static> {
    OptionError::Bad {
        option,
        value: b"",
        reason: Reason::Missing,
    }
}

fn name<'a, T, E>(value: &'a [u8], new: fn(&'a [u8]) -> Result<T, E>) -> Result<T, Reason> {
    if value.len() > MAX_NAME {
        return Err(Reason::TooLong);
    }
    new(value).map_err(|_| Reason::BadName)
}
