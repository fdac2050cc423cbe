// SPDX-License-Identifier: GPL-2.0-only

//! Protection domains, and the attributes of their devices.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    page::PAGE_SIZE,
    prelude::*,
    str::CStr,
    sync::Arc, //
};

use rnbd_proto::device_caps::DeviceAttrs;

use crate::{
    bindings,
    kernel_ext::pages::Pages, //
};

use super::{
    device::{
        caller,
        CmDevice, //
    },
    quirks::inline_imm::imm_support, //
};

/// An owned protection domain.
///
/// # Invariants
///
/// `pd` was allocated by `__ib_alloc_pd` and is not freed; it holds a reference to the
/// registration of its device.
pub struct Pd {
    pd: NonNull<bindings::ib_pd>,
    sink: Pages,
}

// SAFETY: A PD is a kernel object without thread affinity.
unsafe impl Send for Pd {}
// SAFETY: All methods only read what is constant over the life of the PD, or
// call functions that lock internally.
unsafe impl Sync for Pd {}

impl Pd {
    /// Allocates a protection domain on `device`
    /// ([`ib_alloc_pd`](srctree/include/rdma/ib_verbs.h)).
    ///
    /// # Errors
    ///
    /// `ENODEV` when the device is being unregistered, otherwise those of the device.
    pub fn new(device: &CmDevice<'_>) -> Result<Arc<Self>> {
        let dev = device.0.as_ptr();
        let sink = Pages::new(PAGE_SIZE)?;
        // SAFETY: The device is alive as its connection id is.
        if !unsafe { bindings::ib_device_try_get(dev) } {
            return Err(ENODEV);
        }
        // SAFETY: The device is alive and registered; the name is static.
        let pd = from_err_ptr(unsafe { bindings::__ib_alloc_pd(dev, 0, caller().as_char_ptr()) });
        let pd = match pd {
            Ok(pd) => pd,
            Err(e) => {
                // SAFETY: Drops the reference taken above.
                unsafe { bindings::ib_device_put(dev) };
                return Err(e);
            }
        };
        // INVARIANT: Just allocated, with the reference taken above.
        let this = Self {
            pd: NonNull::new(pd).ok_or(ENOMEM)?,
            sink,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::ib_pd {
        self.pd.as_ptr()
    }

    /// Returns a page for data that is discarded.
    pub(super) fn sink(&self) -> &Pages {
        &self.sink
    }

    pub(super) fn device(&self) -> *mut bindings::ib_device {
        // SAFETY: The PD is alive by the type invariant; `device` is constant.
        unsafe { (*self.pd.as_ptr()).device }
    }

    pub(super) fn lkey(&self) -> u32 {
        // SAFETY: As above, the field is constant.
        unsafe { (*self.pd.as_ptr()).local_dma_lkey }
    }

    /// Returns the name of the device, such as `rxe0`.
    pub fn device_name(&self) -> &CStr {
        // SAFETY: `name` is a NUL-terminated array inside the device, which
        // outlives `self`.
        unsafe { CStr::from_char_ptr((*self.device()).name.as_ptr()) }
    }

    /// Returns the attributes of the device.
    pub fn attrs(&self) -> DeviceAttrs {
        // SAFETY: The device is alive; its attributes are constant once it is
        // registered.
        unsafe {
            let dev = self.device();
            let attrs = &raw const (*dev).attrs;
            let flags = (*attrs).device_cap_flags;
            DeviceAttrs {
                max_qp_wr: limit((*attrs).max_qp_wr),
                max_cqe: limit((*attrs).max_cqe),
                max_send_sge: limit((*attrs).max_send_sge),
                max_recv_sge: limit((*attrs).max_recv_sge),
                max_fast_reg_pages: (*attrs).max_fast_reg_page_list_len,
                page_sizes: (*attrs).page_size_cap,
                num_comp_vectors: u32::try_from((*dev).num_comp_vectors).unwrap_or(1).max(1),
                mem_mgt_ext: flags
                    & u64::from(bindings::ib_device_cap_flags_IB_DEVICE_MEM_MGT_EXTENSIONS as u32)
                    != 0,
                // Drivers do not mix fabrics on one device.
                immediates: imm_support(
                    (*dev).ops.driver_id,
                    bindings::rdma_protocol_iwarp(dev, 1),
                ),
            }
        }
    }
}

/// Converts a limit of a device, which is signed before 7.3.
fn limit(limit: impl TryInto<u32>) -> u32 {
    limit.try_into().unwrap_or(0)
}

impl Drop for Pd {
    fn drop(&mut self) {
        let dev = self.device();
        // SAFETY: By the type invariants the PD is owned, and every object on it holds an
        // `Arc<Pd>`, so none is left. The return value only concerns PDs of user space.
        unsafe { bindings::ib_dealloc_pd_user(self.pd.as_ptr(), core::ptr::null_mut()) };
        // SAFETY: Drops the reference taken in `new`.
        unsafe { bindings::ib_device_put(dev) };
    }
}
