// SPDX-License-Identifier: GPL-2.0-only

//! Devices (`struct ib_device`), as connection ids name them.

use core::ptr::NonNull;

use kernel::str::CStr;

use crate::bindings;

/// Returns the name of the owner of objects in the RDMA core.
pub(super) fn caller() -> &'static CStr {
    c"rtrs"
}

/// The device of a connection id, alive as long as the borrow of that id.
pub struct CmDevice<'a>(pub(super) &'a NonNull<bindings::ib_device>);

impl CmDevice<'_> {
    pub(super) fn as_ptr(&self) -> *mut bindings::ib_device {
        self.0.as_ptr()
    }

    /// Whether `port` can send ([`ib_query_port`](srctree/include/rdma/ib_verbs.h)). Sleeps.
    pub(super) fn is_active(&self, port: u32) -> bool {
        let mut attr = bindings::ib_port_attr::default();
        // SAFETY: The device is alive, as the id that names it is.
        let ret = unsafe { bindings::ib_query_port(self.as_ptr(), port, &raw mut attr) };
        ret == 0 && attr.state == bindings::ib_port_state_IB_PORT_ACTIVE
    }

    /// Returns the driver of the device.
    pub(super) fn driver(&self) -> bindings::rdma_driver_id {
        // SAFETY: The device is alive, as the id that names it is.
        unsafe { (*self.0.as_ptr()).ops.driver_id }
    }
}
