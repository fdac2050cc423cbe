// SPDX-License-Identifier: GPL-2.0-only

//! What is in a session's table of devices.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::bdev::DevId;
use crate::deferred_close::DeferredClose;
use crate::open_device::Opened;

/// A device by its id.
pub(crate) enum DeviceSlot {
    /// Open, and found by requests.
    Open(KBox<Opened>),
    /// Given up, with requests in flight. To the client it is not there any more.
    Closing {
        device: DevId,
        drain: Arc<DeferredClose>,
    },
}

impl DeviceSlot {
    /// The device, if it is open.
    pub(crate) fn opened(&self) -> Option<&Opened> {
        match self {
            Self::Open(opened) => Some(opened),
            Self::Closing { .. } => None,
        }
    }

    /// What closes it.
    pub(crate) fn drain(&self) -> &Arc<DeferredClose> {
        match self {
            Self::Open(opened) => opened.drain(),
            Self::Closing { drain, .. } => drain,
        }
    }

    /// Gives up a device that is open.
    pub(crate) fn take(&mut self) -> Option<KBox<Opened>> {
        let closing = match self {
            Self::Open(opened) => Self::Closing {
                device: opened.dev_id(),
                drain: opened.drain().clone(),
            },
            Self::Closing { .. } => return None,
        };

        match core::mem::replace(self, closing) {
            Self::Open(opened) => Some(opened),
            Self::Closing { .. } => None,
        }
    }

    /// Whether the session may open `device`, seen from this one.
    ///
    /// # Errors
    ///
    /// `EEXIST` if this is that device, `EBUSY` if it was.
    pub(crate) fn admits(&self, device: DevId) -> Result {
        match self {
            Self::Open(opened) if opened.dev_id() == device => Err(EEXIST),
            Self::Closing { device: own, .. } if *own == device => Err(EBUSY),
            _ => Ok(()),
        }
    }
}
