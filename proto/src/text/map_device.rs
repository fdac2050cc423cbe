// SPDX-License-Identifier: GPL-2.0-only

//! Options of `map_device`.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::text::map_device::MapOptions;
//! use rnbd_proto::wire::rnbd::AccessMode;
//!
//! let line = b"sessname=s1 path=ip:10.0.0.1@ip:10.0.0.2 device_path=/dev/ram0 access_mode=ro\n";
//! let options = MapOptions::parse(line, 8).expect("valid options");
//!
//! assert_eq!(options.sessname.as_bytes(), b"s1");
//! assert_eq!(options.access_mode, AccessMode::ReadOnly);
//! assert_eq!(options.port(), 1234);
//! assert_eq!(options.paths().count(), 1);
//!
//! let refused = MapOptions::parse(b"sessname=s1", 8).unwrap_err();
//! assert_eq!(refused.to_string(), "option device_path is missing");
//! ```

use core::fmt;

use crate::{
    auth::{
        KeyName,
        MAX_KEY_NAME, //
    },
    error::EINVAL,
    mpath_policy::MpathPolicy,
    reconnect_backoff,
    session_settings::{
        self,
        SettingOptions, //
    },
    wire::{
        name::{
            DevicePath,
            SessName,
            MAX_NAME, //
        },
        rnbd::{
            AccessMode,
            DEFAULT_PORT, //
        }, //
    }, //
};

use super::{
    device_link::DeviceLink,
    path_addr::{
        AddrError,
        PathAddr, //
    },
    Quoted, //
};

/// Largest number of `path=` options in one line.
const MAX_PATH_OPTIONS: usize = 6;

/// Usage text that the file shows when it is read, in the form of the C driver: all options,
/// the optional ones in brackets, and the syntax of an address.
pub const USAGE: &str = concat!(
    "Usage: echo \"sessname=<session> path=<[src@]dst> [path=<[src@]dst> ...] ",
    "device_path=<path on the server> [dest_port=<port>] ",
    "[access_mode=<ro|rw|migration>] [nr_poll_queues=<number>] ",
    "[fast_io_fail_tmo=<seconds|off>] [max_reconnect_attempts=<number>] ",
    "[mp_policy=<round-robin|min-inflight|min-latency>] [io_timeout=<milliseconds>] ",
    "[key=<name>]\" ",
    "> map_device\n",
    "\n",
    "addr ::= [ ip:<ipv4> | ip:<ipv6>[%<interface>] | gid:<gid> ]\n",
);

/// The key of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKey {
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
    /// `fast_io_fail_tmo=`
    FastIoFailTmo,
    /// `max_reconnect_attempts=`
    MaxReconnectAttempts,
    /// `mp_policy=`
    MpPolicy,
    /// `io_timeout=`
    IoTimeout,
    /// `key=`
    Key,
}

impl OptionKey {
    const ALL: [Self; 11] = [
        Self::SessName,
        Self::Path,
        Self::DevicePath,
        Self::DestPort,
        Self::AccessMode,
        Self::NrPollQueues,
        Self::FastIoFailTmo,
        Self::MaxReconnectAttempts,
        Self::MpPolicy,
        Self::IoTimeout,
        Self::Key,
    ];

    /// Returns the key as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessName => "sessname",
            Self::Path => "path",
            Self::DevicePath => "device_path",
            Self::DestPort => "dest_port",
            Self::AccessMode => "access_mode",
            Self::NrPollQueues => "nr_poll_queues",
            Self::FastIoFailTmo => "fast_io_fail_tmo",
            Self::MaxReconnectAttempts => "max_reconnect_attempts",
            Self::MpPolicy => "mp_policy",
            Self::IoTimeout => "io_timeout",
            Self::Key => "key",
        }
    }

    /// Splits `word` into the key of an option and its value.
    fn split(word: &[u8]) -> Option<(Self, &[u8])> {
        let at = word.iter().position(|&b| b == b'=')?;
        let (name, value) = word.split_at_checked(at)?;
        let option = Self::ALL
            .into_iter()
            .find(|option| option.as_str().as_bytes() == name)?;
        Some((option, value.get(1..)?))
    }
}

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionErrorKind {
    /// A required option is missing.
    Missing,
    /// Given more than once, with different values.
    Twice,
    /// No value.
    Empty,
    /// A name that is too long.
    TooLong,
    /// A name with a forbidden byte.
    BadName,
    /// More than [`MAX_PATH_OPTIONS`] different paths.
    TooMany,
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
    /// Neither `off` nor a number of seconds.
    Seconds,
    /// Not a multipath policy.
    Policy,
    /// Not the name of a key.
    Key,
    /// Together with the name of the session too long for the name of a link.
    LinkTooLong,
}

/// Why a line was refused. [`fmt::Display`] prints it for a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError<'a> {
    /// A word that is not an option.
    Unknown(&'a [u8]),
    /// An option that is wrong.
    Bad {
        /// The key.
        option: OptionKey,
        /// The value, empty if there is none.
        value: &'a [u8],
        /// What is wrong.
        kind: OptionErrorKind,
    },
}

impl OptionError<'_> {
    /// Returns the error number (positive) for the writer.
    pub const fn errno(&self) -> i32 {
        match self {
            Self::Bad {
                kind: OptionErrorKind::Addr(error),
                ..
            } => error.errno(),
            _ => EINVAL,
        }
    }
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (option, value, kind) = match self {
            Self::Unknown(word) => return write!(f, "unknown option '{}'", Quoted(word)),
            Self::Bad {
                option,
                value,
                kind,
            } => (option.as_str(), Quoted(value), kind),
        };
        match kind {
            OptionErrorKind::Missing => write!(f, "option {option} is missing"),
            OptionErrorKind::Twice => {
                write!(f, "option {option} given twice, with different values")
            }
            OptionErrorKind::Empty => write!(f, "option {option} has no value"),
            OptionErrorKind::TooLong => {
                write!(f, "option {option} is longer than {MAX_NAME} bytes")
            }
            OptionErrorKind::BadName => write!(f, "option {option}: bad name '{value}'"),
            OptionErrorKind::TooMany => {
                write!(
                    f,
                    "option {option} given more than {MAX_PATH_OPTIONS} times"
                )
            }
            OptionErrorKind::Addr(why) => write!(f, "option {option}: '{value}' {why}"),
            OptionErrorKind::Range { min, max } => {
                write!(f, "option {option}: '{value}' is not within {min}..{max}")
            }
            OptionErrorKind::Mode => {
                write!(f, "option {option}: '{value}' is not ro, rw or migration")
            }
            OptionErrorKind::Seconds => write!(
                f,
                "option {option}: '{value}' is neither off nor a number of seconds"
            ),
            OptionErrorKind::Policy => write!(
                f,
                "option {option}: '{value}' is none of round-robin, min-inflight, min-latency"
            ),
            OptionErrorKind::Key => write!(
                f,
                "option {option}: '{value}' is not 1 to {MAX_KEY_NAME} letters, digits, -, _ and ."
            ),
            OptionErrorKind::LinkTooLong => write!(
                f,
                "option {option} is longer than {MAX_NAME} bytes together with sessname"
            ),
        }
    }
}

/// A line written to `map_device`.
#[derive(Clone, Copy, Debug)]
pub struct MapOptions<'a> {
    /// Name of the session.
    pub sessname: SessName<'a>,
    /// Path of the device on the server.
    pub device_path: DevicePath<'a>,
    /// Name of the link to the device.
    pub link: DeviceLink<'a>,
    /// Port of the server, the same for all paths, if it is given.
    pub dest_port: Option<u16>,
    /// How to open the device.
    pub access_mode: AccessMode,
    /// Number of poll queues.
    pub nr_poll_queues: u32,
    /// Settings of the session.
    pub settings: SettingOptions,
    /// Timeout of the disk's requests, in milliseconds, if it is given.
    pub io_timeout_ms: Option<u32>,
    /// Name of the key that the session is to prove, if it is given.
    pub key: Option<KeyName>,
    paths: [Option<PathAddr<'a>>; MAX_PATH_OPTIONS],
}

impl<'a> MapOptions<'a> {
    /// Parses a line, on a machine with `nr_cpus` CPUs.
    pub fn parse(line: &'a [u8], nr_cpus: u32) -> Result<Self, OptionError<'a>> {
        let mut parser = Parser::default();
        let words = line.split(u8::is_ascii_whitespace);
        for word in words.filter(|word| !word.is_empty()) {
            parser.parse_word(word, nr_cpus)?;
        }

        let sessname = parser
            .sessname
            .ok_or_else(|| missing(OptionKey::SessName))?;
        let device_path = parser
            .device_path
            .ok_or_else(|| missing(OptionKey::DevicePath))?;
        let link = DeviceLink::new(device_path, sessname).ok_or(OptionError::Bad {
            option: OptionKey::DevicePath,
            value: device_path.as_bytes(),
            kind: OptionErrorKind::LinkTooLong,
        })?;
        Ok(Self {
            sessname,
            device_path,
            link,
            dest_port: parser.dest_port,
            access_mode: parser.access_mode.unwrap_or(AccessMode::ReadWrite),
            nr_poll_queues: parser.nr_poll_queues.unwrap_or(0),
            settings: parser.settings,
            io_timeout_ms: parser.io_timeout_ms,
            key: parser.key,
            paths: parser.paths,
        })
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.dest_port.unwrap_or(DEFAULT_PORT)
    }

    /// Returns the paths in the given order, each once. There are none if the session must
    /// exist already.
    pub fn paths(&self) -> impl Iterator<Item = PathAddr<'a>> + '_ {
        self.paths.iter().flatten().copied()
    }

    /// Returns all that a session is connected by, for printing: paths, port and key. Lines of one
    /// session that print the same would be connected or refused alike.
    pub fn server(&self) -> impl fmt::Display + '_ {
        Server(self)
    }
}

/// See [`MapOptions::server`].
struct Server<'a>(&'a MapOptions<'a>);

impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(options) = self;
        write!(f, "port {}", options.port())?;
        if let Some(key) = &options.key {
            write!(f, " key {key}")?;
        }
        options
            .paths()
            .try_for_each(|path| write!(f, " path {path}"))
    }
}

/// The options parsed so far.
#[derive(Default)]
struct Parser<'a> {
    sessname: Option<SessName<'a>>,
    device_path: Option<DevicePath<'a>>,
    dest_port: Option<u16>,
    access_mode: Option<AccessMode>,
    nr_poll_queues: Option<u32>,
    settings: SettingOptions,
    io_timeout_ms: Option<u32>,
    key: Option<KeyName>,
    paths: [Option<PathAddr<'a>>; MAX_PATH_OPTIONS],
}

impl<'a> Parser<'a> {
    /// Parses one word.
    fn parse_word(&mut self, word: &'a [u8], nr_cpus: u32) -> Result<(), OptionError<'a>> {
        let (option, value) = OptionKey::split(word).ok_or(OptionError::Unknown(word))?;
        self.set(option, value, nr_cpus)
            .map_err(|kind| OptionError::Bad {
                option,
                value,
                kind,
            })
    }

    fn set(
        &mut self,
        option: OptionKey,
        value: &'a [u8],
        nr_cpus: u32,
    ) -> Result<(), OptionErrorKind> {
        if value.is_empty() {
            return Err(OptionErrorKind::Empty);
        }
        match option {
            OptionKey::SessName => set_once(&mut self.sessname, name(value, SessName::new)?),
            OptionKey::DevicePath => set_once(&mut self.device_path, name(value, DevicePath::new)?),
            OptionKey::Path => self.add_path(value),
            OptionKey::DestPort => {
                let (min, max) = (0, u16::MAX.into());
                let port = super::parse_option_number(value).and_then(|n| u16::try_from(n).ok());
                let port = port.ok_or(OptionErrorKind::Range { min, max })?;
                set_once(&mut self.dest_port, port)
            }
            OptionKey::AccessMode => {
                let mode = AccessMode::parse(value).ok_or(OptionErrorKind::Mode)?;
                set_once(&mut self.access_mode, mode)
            }
            OptionKey::NrPollQueues => {
                let (min, max) = (-1, i32::try_from(nr_cpus).unwrap_or(i32::MAX));
                let queues = match super::parse_option_number(value) {
                    Some(-1) => nr_cpus,
                    Some(n) if (0..=max).contains(&n) => n.unsigned_abs(),
                    _ => return Err(OptionErrorKind::Range { min, max }),
                };
                set_once(&mut self.nr_poll_queues, queues)
            }
            OptionKey::FastIoFailTmo => {
                let seconds = session_settings::parse_fast_io_fail_tmo(value);
                let seconds = seconds.map_err(|_| OptionErrorKind::Seconds)?;
                set_once(&mut self.settings.fast_io_fail_tmo, seconds)
            }
            OptionKey::MaxReconnectAttempts => {
                let (min, max) = (
                    reconnect_backoff::MIN_ATTEMPTS,
                    reconnect_backoff::MAX_ATTEMPTS,
                );
                let attempts = super::parse_option_number(value)
                    .filter(|attempts| reconnect_backoff::in_range(*attempts))
                    .ok_or(OptionErrorKind::Range { min, max })?;
                set_once(&mut self.settings.max_reconnect_attempts, attempts)
            }
            OptionKey::MpPolicy => {
                let policy = MpathPolicy::parse(value).ok_or(OptionErrorKind::Policy)?;
                set_once(&mut self.settings.mpath_policy, policy)
            }
            OptionKey::IoTimeout => {
                let (min, max) = (1, i32::MAX);
                let ms = super::parse_option_number(value)
                    .filter(|ms| *ms >= min)
                    .ok_or(OptionErrorKind::Range { min, max })?;
                set_once(&mut self.io_timeout_ms, ms.unsigned_abs())
            }
            OptionKey::Key => {
                let key = KeyName::new(value).ok_or(OptionErrorKind::Key)?;
                set_once(&mut self.key, key)
            }
        }
    }

    fn add_path(&mut self, value: &'a [u8]) -> Result<(), OptionErrorKind> {
        let path = PathAddr::parse(value).map_err(OptionErrorKind::Addr)?;
        if self.paths.iter().flatten().any(|known| *known == path) {
            return Ok(());
        }
        let free = self.paths.iter_mut().find(|slot| slot.is_none());
        *free.ok_or(OptionErrorKind::TooMany)? = Some(path);
        Ok(())
    }
}

/// Sets an option, which may have the same value already.
fn set_once<T: PartialEq>(option: &mut Option<T>, value: T) -> Result<(), OptionErrorKind> {
    match option.replace(value) {
        Some(before) if option.as_ref() != Some(&before) => Err(OptionErrorKind::Twice),
        _ => Ok(()),
    }
}

fn missing(option: OptionKey) -> OptionError<'static> {
    OptionError::Bad {
        option,
        value: b"",
        kind: OptionErrorKind::Missing,
    }
}

fn name<'a, T, E>(
    value: &'a [u8],
    new: fn(&'a [u8]) -> Result<T, E>,
) -> Result<T, OptionErrorKind> {
    if value.len() > MAX_NAME {
        return Err(OptionErrorKind::TooLong);
    }
    new(value).map_err(|_| OptionErrorKind::BadName)
}
