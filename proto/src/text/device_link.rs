// SPDX-License-Identifier: GPL-2.0-only

//! Name of the link in `devices/` to a mapped device.

use core::ffi::CStr;

use crate::wire::name::{
    DevicePath,
    NameBuf,
    SessName,
    MAX_NAME, //
};

/// `<device_path with / as !>@<sessname>`.
///
/// # Invariants
///
/// At most [`MAX_NAME`] bytes: sysfs would create a longer name, but a look-up of it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLink<'a> {
    path: DevicePath<'a>,
    sessname: SessName<'a>,
}

impl<'a> DeviceLink<'a> {
    /// Returns the link to device `path` of session `sessname`, unless its name is too long.
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

    /// Writes the name, with a NUL, to `buf`.
    pub fn copy_to<'b>(&self, buf: &'b mut NameBuf) -> &'b CStr {
        let path = self.path.as_bytes().iter().map(|b| match b {
            b'/' => b'!',
            _ => *b,
        });
        let name = path
            .chain([b'@'])
            .chain(self.sessname.as_bytes().iter().copied());
        crate::wire::name::copy_terminated(name, buf)
    }
}
