// SPDX-License-Identifier: GPL-2.0-only

//! What a client does when a server, to which a session was connected again, does not open a
//! device that it had open before.

use crate::error::{
    EACCES,
    ECONNABORTED,
    EMEDIUMTYPE,
    ENODEV,
    ENOENT,
    ENOMEDIUM,
    ENOMEM,
    ENOSPC,
    ENOTCONN,
    ENXIO,
    ERESTARTSYS,
    EROFS,
    ETIMEDOUT, //
};

/// Why a device could not be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReopenFailure {
    /// The transport failed, or there is a passing shortage: the path is given up, and connected
    /// again later.
    Passing,
    /// The server does not have the device: its disks may appear later than the server, as when
    /// it boots. The device is asked for again.
    Absent,
    /// The device has larger blocks than the disk, which is open and keeps its own. The device is
    /// asked for again when the disk is not open any more.
    LargerBlocks,
    /// The server or the client refuses the device: only a user can change that.
    Refused,
}

impl ReopenFailure {
    /// Returns what the error number `errno` means, which is positive.
    pub const fn of(errno: i32) -> Self {
        match errno {
            ECONNABORTED | ETIMEDOUT | ENOTCONN | ERESTARTSYS | ENOMEM | ENOSPC => Self::Passing,
            ENOENT | ENXIO | ENODEV | ENOMEDIUM => Self::Absent,
            EMEDIUMTYPE => Self::LargerBlocks,
            _ => Self::Refused,
        }
    }
}

/// Returns whether a device that the server does not open for writing, with the error number
/// `errno`, may still be open for reading: it has become read-only, or the rules for it have.
/// Not if another client writes to it (`EPERM`).
pub const fn may_be_read(errno: i32) -> bool {
    matches!(errno, EACCES | EROFS)
}

/// What becomes of I/O of a device that the server does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentIo {
    /// It waits for the device.
    Waits,
    /// It fails.
    Fails,
}

impl AbsentIo {
    /// Decides for a device that has been absent for `seconds`. Like I/O of a session without a
    /// path, it waits for `fast_io_fail_tmo` seconds, or without end if that is negative.
    pub const fn after(seconds: i64, fast_io_fail_tmo: i32) -> Self {
        match fast_io_fail_tmo < 0 || seconds < fast_io_fail_tmo as i64 {
            true => Self::Waits,
            false => Self::Fails,
        }
    }
}

/// Returns the seconds after which the server is asked for a device again that has been absent
/// for `seconds`. A disk that a booting server is about to find is there in time; one that stays
/// away, or that the server's rules have taken away, costs the server a line in its log each time.
pub const fn ask_again_after(seconds: i64) -> i64 {
    match seconds < 60 {
        true => 2,
        false => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{
        EIO,
        EPERM,
        ESTALE, //
    };

    #[test]
    fn only_a_device_that_is_not_there_is_asked_for_again() {
        for errno in [ENOENT, ENXIO, ENODEV, ENOMEDIUM] {
            assert_eq!(ReopenFailure::of(errno), ReopenFailure::Absent, "{errno}");
        }
        for errno in [ENOTCONN, ETIMEDOUT, ENOMEM] {
            assert_eq!(ReopenFailure::of(errno), ReopenFailure::Passing, "{errno}");
        }
        assert_eq!(ReopenFailure::of(EMEDIUMTYPE), ReopenFailure::LargerBlocks);
        for errno in [EACCES, EROFS, ESTALE, EIO, 0, -1] {
            assert_eq!(ReopenFailure::of(errno), ReopenFailure::Refused, "{errno}");
        }
    }

    #[test]
    fn a_device_that_must_not_be_written_may_be_read() {
        assert!(may_be_read(EACCES) && may_be_read(EROFS));
        assert!(![EPERM, ENOENT, EIO, 0].into_iter().any(may_be_read));
    }

    #[test]
    fn io_waits_for_a_device_as_long_as_for_a_path() {
        assert_eq!(AbsentIo::after(0, 0), AbsentIo::Fails);
        assert_eq!(AbsentIo::after(0, 120), AbsentIo::Waits);
        assert_eq!(AbsentIo::after(119, 120), AbsentIo::Waits);
        assert_eq!(AbsentIo::after(120, 120), AbsentIo::Fails);
        assert_eq!(AbsentIo::after(i64::MAX, -1), AbsentIo::Waits);
    }

    #[test]
    fn a_device_that_stays_away_is_asked_for_less_often() {
        assert_eq!([0, 59, 60, 3600].map(ask_again_after), [2, 2, 10, 10]);
    }
}
