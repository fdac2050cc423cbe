// SPDX-License-Identifier: GPL-2.0-only

//! Name of the link to a mapped device in `devices/`.

use core::ffi::CStr;

use crate::wire::name::DevicePath;
use crate::wire::name::NameBuf;
use crate::wire::name::SessName;
use crate::wire::name::MAX_NAME;

/// `<device_path with / as !>@<sessname>`.
///
/// # Invariants
///
/// At most [`MAX_NAME`] bytes: a longer name could be created in sysfs, but nobody
/// could look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLink<'a> {
    path: DevicePath<'a>,
    sessname: SessName<'a>,
}

impl<'a> DeviceLink<'a> {
    /// The link of device `path` on session `sessname`, unless it is too long.
    pub const fn new(path: DevicePath<'a>, sessname: SessName<'a>) -> Option<Self> {
        let len = path
            .as_bytes()
            .len()
            .saturating_add(sessname.as_bytes().len());
        // One byte is for the `@`.
        if len >= MAX_NAME {
            return None;
        }
        // INVARIANT: Checked just above.
        Some(Self { path, sessname })
    }

    /// The name, with a NUL, in `buf`.
    pub fn copy_to<'b>(&self, buf: &'b mut NameBuf) -> &'b CStr {
        let path = self.path.as_bytes().iter().map(|b| match b {
            b'/' => b'!',
            _ => *b,
        });
        let rest = [b'@'].into_iter();
        let name = path
            .chain(rest)
            .chain(self.sessname.as_bytes().iter().copied());
        crate::wire::name::copy_terminated(name, buf)
    }
}
