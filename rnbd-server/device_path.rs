// SPDX-License-Identifier: GPL-2.0-only

//! Resolves the path by which a client names a device.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    str::CString, //
};

use rnbd_proto::{
    search_path::{
        SearchPath,
        SearchPathError,
        PATH_MAX, //
    },
    wire::name::{
        DevicePath,
        SessName, //
    }, //
};

use crate::bdev::{
    BlockDevice,
    DevId,
    Location,
    Mode, //
};

/// The path of a device on this machine.
pub(crate) struct DevicePathname {
    path: CString,
    /// The directory that the path must stay in after symbolic links are followed, except for
    /// those that only root can make; `None` for `/`.
    dir: Option<CString>,
}

impl DevicePathname {
    /// Resolves `device`, as named by the session `session`, below `search`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the path has a component `..`, names no file, or is too long.
    pub(crate) fn new(
        search: SearchPath<'_>,
        session: SessName<'_>,
        device: DevicePath<'_>,
    ) -> Result<Self> {
        let mut buf = KVec::from_elem(0_u8, PATH_MAX, GFP_KERNEL)?;
        let path = search
            .resolve(session, device, &mut buf)
            .map_err(path_error)?;
        let path = CString::try_from(path)?;
        let dir = if search.is_root() {
            None
        } else {
            let dir = search.directory(session, &mut buf).map_err(path_error)?;

            Some(CString::try_from(dir)?)
        };

        Ok(Self { path, dir })
    }

    /// The path on this machine.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Opens the device.
    ///
    /// # Errors
    ///
    /// Those of [`BlockDevice::open`].
    pub(crate) fn open(&self, mode: Mode) -> Result<BlockDevice> {
        BlockDevice::open(&self.location()?, mode)
    }

    /// Looks up the device without opening it.
    ///
    /// # Errors
    ///
    /// Those of [`Location::find`].
    pub(crate) fn find(&self) -> Result<DevId> {
        self.location()?.find()
    }

    fn location(&self) -> Result<Location<'_>> {
        let path = self.path();
        let Some(dir) = &self.dir else {
            return Ok(Location::Anywhere { path });
        };
        let below = path
            .to_bytes_with_nul()
            .strip_prefix(dir.to_bytes())
            .and_then(|below| below.strip_prefix(b"/"))
            .and_then(|below| CStr::from_bytes_with_nul(below).ok())
            .ok_or(EINVAL)?;

        Ok(Location::Inside { dir, below, path })
    }
}

fn path_error(reason: SearchPathError) -> Error {
    Error::from_errno(-reason.errno())
}
