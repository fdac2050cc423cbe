// SPDX-License-Identifier: GPL-2.0-only

//! A device that rules speak of, by its names.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::str::CString;
use rnbd_proto::glob::Glob;

use crate::bdev;
use crate::bdev::BlockDevice;
use crate::bdev::DevId;

/// A device that a client wants to open.
pub(crate) struct RuleTarget {
    /// The path asked for, on this machine.
    path: CString,
    /// There once it is open.
    device: Option<Device>,
}

struct Device {
    id: DevId,
    /// Where devtmpfs has it.
    node: KVec<u8>,
}

impl RuleTarget {
    /// What is at `path`, be it a device or not.
    pub(crate) fn unknown(path: &CStr) -> Result<Self> {
        Ok(Self {
            path: CString::try_from(path)?,
            device: None,
        })
    }

    /// The device that was found at `path`.
    pub(crate) fn opened(path: &CStr, device: &BlockDevice) -> Result<Self> {
        let mut node = KVec::new();

        node.extend_from_slice(b"/dev/", GFP_KERNEL)?;
        for byte in device.name().to_bytes() {
            // As in the names of kobjects.
            node.push(if *byte == b'!' { b'/' } else { *byte }, GFP_KERNEL)?;
        }
        Ok(Self {
            path: CString::try_from(path)?,
            device: Some(Device {
                id: device.id(),
                node,
            }),
        })
    }

    /// The path asked for.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.to_bytes()
    }

    /// Whether `pattern` means it.
    ///
    /// That is so if the path asked for matches, or the name that the kernel gives the
    /// device, which is the same by whatever path it was found. A pattern that is a path
    /// also means the device which that path leads to at this moment.
    ///
    /// # Errors
    ///
    /// What looking up such a path says, but for there being nothing.
    pub(crate) fn is(&self, pattern: Glob<'_>) -> Result<bool> {
        if pattern.matches(self.path()) {
            return Ok(true);
        }
        let Some(device) = &self.device else {
            return Ok(false);
        };
        if pattern.matches(&device.node) {
            return Ok(true);
        }
        let Some(path) = pattern.literal() else {
            return Ok(false);
        };
        let mut buf = KVec::with_capacity(path.len().saturating_add(1), GFP_KERNEL)?;

        buf.extend_from_slice(path, GFP_KERNEL)?;
        buf.push(0, GFP_KERNEL)?;
        let path = CStr::from_bytes_with_nul(&buf).map_err(|_| EINVAL)?;
        Ok(bdev::find(path)? == Some(device.id))
    }
}
