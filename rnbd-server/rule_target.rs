// SPDX-License-Identifier: GPL-2.0-only

//! The names of a device that rules are matched against.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    str::CString, //
};

use rnbd_proto::{
    export_rules::DeviceMatch,
    glob::Glob, //
};

use crate::bdev::{
    self,
    BlockDevice,
    DevId, //
};

/// A device that a client wants to open.
pub(crate) struct RuleTarget {
    /// The requested path on this machine.
    path: CString,
    /// `None` if none was found.
    device: Option<Device>,
}

struct Device {
    id: DevId,
    /// Its path in devtmpfs.
    node: KVec<u8>,
}

impl RuleTarget {
    /// Describes `path`, at which there may be no device.
    pub(crate) fn missing(path: &CStr) -> Result<Self> {
        Ok(Self {
            path: CString::try_from(path)?,
            device: None,
        })
    }

    /// Describes the open `device`, found at `path`.
    pub(crate) fn opened(path: &CStr, device: &BlockDevice) -> Result<Self> {
        Self::found(path, device.id(), device.name())
    }

    /// Describes the device `id`, which the kernel calls `name` and which need not be open, found
    /// at `path`.
    pub(crate) fn found(path: &CStr, id: DevId, name: &CStr) -> Result<Self> {
        let mut node = KVec::new();

        node.extend_from_slice(b"/dev/", GFP_KERNEL)?;
        for byte in name.to_bytes() {
            // As in the names of kobjects.
            node.push(if *byte == b'!' { b'/' } else { *byte }, GFP_KERNEL)?;
        }
        Ok(Self {
            path: CString::try_from(path)?,
            device: Some(Device { id, node }),
        })
    }

    /// The requested path.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.to_bytes()
    }

    /// Returns whether `pattern` matches the device.
    ///
    /// It does if it matches the requested path, or the devtmpfs path, which does not
    /// depend on the requested one. A pattern without wildcards also matches the device
    /// that it, as a path, leads to at this moment; if it leads to none, it may be a link to
    /// this one that is missing.
    ///
    /// # Errors
    ///
    /// Errors of looking up such a path, except that it does not exist.
    pub(crate) fn matches(&self, pattern: Glob<'_>) -> Result<DeviceMatch> {
        if pattern.matches(self.path()) {
            return Ok(DeviceMatch::Yes);
        }
        let Some(device) = &self.device else {
            return Ok(DeviceMatch::No);
        };
        if pattern.matches(&device.node) {
            return Ok(DeviceMatch::Yes);
        }
        let Some(path) = pattern.literal() else {
            return Ok(DeviceMatch::No);
        };
        let mut buf = KVec::with_capacity(path.len().saturating_add(1), GFP_KERNEL)?;

        buf.extend_from_slice(path, GFP_KERNEL)?;
        buf.push(0, GFP_KERNEL)?;
        let path = CStr::from_bytes_with_nul(&buf).map_err(|_| EINVAL)?;
        Ok(match bdev::find(path)? {
            Some(id) => DeviceMatch::from(id == device.id),
            None => DeviceMatch::Unknown,
        })
    }
}
