// SPDX-License-Identifier: GPL-2.0-only

//! Opening the device that a client names.

#![deny(unsafe_code)]

use kernel::prelude::*;
use rnbd_proto::search_path::PathError;
use rnbd_proto::search_path::SearchPath;
use rnbd_proto::search_path::MAX_PATH;
use rnbd_proto::wire::name::DevicePath;
use rnbd_proto::wire::name::SessName;

use crate::bdev::BlockDevice;
use crate::bdev::Location;
use crate::bdev::Mode;

/// Opens `device` of the session `session` below `search`.
///
/// # Errors
///
/// - `EINVAL` if the path has a component `..`, names no file, or is too long;
/// - what [`BlockDevice::open`] says.
pub(crate) fn open(
    search: SearchPath<'_>,
    session: SessName<'_>,
    device: DevicePath<'_>,
    mode: Mode,
) -> Result<BlockDevice> {
    let mut path = KVec::from_elem(0_u8, MAX_PATH, GFP_KERNEL)?;
    let path = search
        .resolve(session, device, &mut path)
        .map_err(refused)?;

    if search.is_root() {
        return BlockDevice::open(&Location::Anywhere { path }, mode);
    }

    let mut dir = KVec::from_elem(0_u8, MAX_PATH, GFP_KERNEL)?;
    let dir = search.directory(session, &mut dir).map_err(refused)?;
    let below = path
        .to_bytes_with_nul()
        .strip_prefix(dir.to_bytes())
        .and_then(|below| below.strip_prefix(b"/"))
        .and_then(|below| CStr::from_bytes_with_nul(below).ok())
        .ok_or(EINVAL)?;

    BlockDevice::open(&Location::Inside { dir, below, path }, mode)
}

fn refused(reason: PathError) -> Error {
    Error::from_errno(-reason.errno())
}
