// SPDX-License-Identifier: GPL-2.0-only

//! Settings of a session that users give with `map_device`, as module parameters, or later in
//! sysfs.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::mpath_policy::MpathPolicy;
//! use rnbd_proto::session_settings::SessionSettings;
//! use rnbd_proto::session_settings::SettingOptions;
//!
//! let given = SettingOptions {
//!     fast_io_fail_tmo: Some(5),
//!     ..SettingOptions::default()
//! };
//! let defaults = SessionSettings::default();
//! let settings = given.or(defaults);
//! assert_eq!(settings.fast_io_fail_tmo, 5);
//! assert_eq!(settings.mpath_policy, MpathPolicy::MinInflight);
//!
//! assert_eq!(given.conflict(&settings), None);
//! assert_eq!(given.conflict(&defaults), Some("fast_io_fail_tmo"));
//! ```

use crate::{
    mpath_policy::MpathPolicy,
    text::{
        self,
        ParseNumberError, //
    }, //
};

/// Value of `fast_io_fail_tmo` for no limit, which users write as `off`.
pub const NO_LIMIT: i32 = -1;

/// Settings of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Seconds that I/O waits for a path; negative: without end.
    pub fast_io_fail_tmo: i32,
    /// Attempts to reconnect a lost path; negative: without end.
    pub max_reconnect_attempts: i32,
    /// How to choose a path.
    pub mpath_policy: MpathPolicy,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            fast_io_fail_tmo: 120,
            max_reconnect_attempts: -1,
            mpath_policy: MpathPolicy::default(),
        }
    }
}

/// The settings that a line of `map_device` gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingOptions {
    /// See [`SessionSettings::fast_io_fail_tmo`].
    pub fast_io_fail_tmo: Option<i32>,
    /// See [`SessionSettings::max_reconnect_attempts`].
    pub max_reconnect_attempts: Option<i32>,
    /// See [`SessionSettings::mpath_policy`].
    pub mpath_policy: Option<MpathPolicy>,
}

impl SettingOptions {
    /// Returns the settings of a new session, which are the `defaults` where none is given.
    pub fn or(&self, defaults: SessionSettings) -> SessionSettings {
        SessionSettings {
            fast_io_fail_tmo: self.fast_io_fail_tmo.unwrap_or(defaults.fast_io_fail_tmo),
            max_reconnect_attempts: self
                .max_reconnect_attempts
                .unwrap_or(defaults.max_reconnect_attempts),
            mpath_policy: self.mpath_policy.unwrap_or(defaults.mpath_policy),
        }
    }

    /// Returns the name of an option that differs from the settings that a session has, and
    /// that other devices of the session rely on.
    pub fn conflict(&self, current: &SessionSettings) -> Option<&'static str> {
        let wanted = self.or(*current);
        if wanted.fast_io_fail_tmo != current.fast_io_fail_tmo {
            Some("fast_io_fail_tmo")
        } else if wanted.max_reconnect_attempts != current.max_reconnect_attempts {
            Some("max_reconnect_attempts")
        } else if wanted.mpath_policy != current.mpath_policy {
            Some("mp_policy")
        } else {
            None
        }
    }
}

/// Parses `fast_io_fail_tmo`: `off`, or a number of seconds.
pub fn parse_fast_io_fail_tmo(text: &[u8]) -> Result<i32, ParseNumberError> {
    if text.strip_suffix(b"\n").unwrap_or(text) == b"off" {
        return Ok(NO_LIMIT);
    }
    match text::parse_i32(text)? {
        seconds if seconds < 0 => Err(ParseNumberError::Malformed),
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("off", Some(NO_LIMIT)),
            ("off\n", Some(NO_LIMIT)),
            ("0", Some(0)),
            ("120\n", Some(120)),
            ("2147483647", Some(i32::MAX)),
            ("-1", None),
            ("OFF", None),
            ("off ", None),
            ("", None),
            ("1s", None),
        ] {
            assert_eq!(
                parse_fast_io_fail_tmo(text.as_bytes()).ok(),
                seconds,
                "{text:?}"
            );
        }
        let large = parse_fast_io_fail_tmo(b"2147483648");
        assert_eq!(large, Err(ParseNumberError::Range));
    }

    /// Each option can be in conflict, and equal ones are not.
    #[test]
    fn conflicts() {
        let current = SessionSettings::default();
        assert_eq!(SettingOptions::default().conflict(&current), None);
        let same = SettingOptions {
            fast_io_fail_tmo: Some(120),
            max_reconnect_attempts: Some(-1),
            mpath_policy: Some(MpathPolicy::MinInflight),
        };
        assert_eq!(same.conflict(&current), None);
        assert_eq!(same.or(current), current);
        let attempts = SettingOptions {
            max_reconnect_attempts: Some(3),
            ..same
        };
        assert_eq!(attempts.conflict(&current), Some("max_reconnect_attempts"));
        let policy = SettingOptions {
            mpath_policy: Some(MpathPolicy::RoundRobin),
            ..same
        };
        assert_eq!(policy.conflict(&current), Some("mp_policy"));
        assert_eq!(policy.conflict(&policy.or(current)), None);
    }
}
