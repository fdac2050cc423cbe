// SPDX-License-Identifier: GPL-2.0-only

//! Memory regions for fast registration (`struct ib_mr`).

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::wire::rtrs::next_key;

use crate::bindings;

use super::{
    pd::Pd,
    sg::MappedSg,
    sge::Sge, //
};

/// Access that the key of a region grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only this side's own work requests use it.
    Local,
    /// The peer may write to it.
    RemoteWrite,
}

impl Access {
    pub(super) fn raw(self) -> i32 {
        let local = bindings::ib_access_flags_IB_ACCESS_LOCAL_WRITE;
        let bits = match self {
            Access::Local => local,
            Access::RemoteWrite => local | bindings::ib_access_flags_IB_ACCESS_REMOTE_WRITE,
        };
        bits as i32
    }
}

/// An owned memory region.
///
/// Mapping only describes memory. The peer gains access when a work request of
/// [`SendChain::reg_mr`](super::wr::SendChain::reg_mr) runs, and loses it by invalidation.
///
/// # Invariants
///
/// `mr` came from `ib_alloc_mr` on `pd` and has not been freed.
pub(crate) struct Mr {
    mr: NonNull<bindings::ib_mr>,
    pd: Arc<Pd>,
}

// SAFETY: A region has no thread affinity.
unsafe impl Send for Mr {}
// SAFETY: Shared access only reads fields that `&mut` methods write.
unsafe impl Sync for Mr {}

impl Mr {
    /// Allocates a region for up to `max_pages` pages
    /// ([`ib_alloc_mr`](srctree/include/rdma/ib_verbs.h)).
    pub(crate) fn new(pd: &Arc<Pd>, max_pages: u32) -> Result<Self> {
        // SAFETY: The PD is alive.
        let mr = from_err_ptr(unsafe {
            bindings::ib_alloc_mr(
                pd.as_ptr(),
                bindings::ib_mr_type_IB_MR_TYPE_MEM_REG,
                max_pages,
            )
        })?;
        // INVARIANT: Just allocated.
        Ok(Self {
            mr: NonNull::new(mr).ok_or(ENOMEM)?,
            pd: pd.clone(),
        })
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::ib_mr {
        self.mr.as_ptr()
    }

    /// Describes all of `map` in pages of `page_size` bytes
    /// ([`ib_map_mr_sg`](srctree/include/rdma/ib_verbs.h)), and steps the key, so that the old
    /// key is invalid once the region is registered again.
    ///
    /// `page_size` is a power of two, to which all segments must be aligned except at the
    /// start of the first and the end of the last.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the region cannot describe that.
    pub(crate) fn map(&mut self, map: &MappedSg, page_size: u32) -> Result {
        self.describe(map, page_size)?;
        self.bump_key();
        Ok(())
    }

    /// Describes all of `map` as [`Mr::map`] does, but with the present key, address and length:
    /// a peer that knows those does not notice. The old key must have been invalidated.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `map` has another length, or another offset in its first page.
    pub(crate) fn replace(&mut self, map: &MappedSg, page_size: u32) -> Result {
        let (iova, length) = (self.iova(), self.length());
        self.describe(map, page_size)?;
        let offset = u64::from(page_size).saturating_sub(1);
        if self.length() != length || (self.iova() ^ iova) & offset != 0 {
            return Err(EINVAL);
        }
        // SAFETY: Exclusive by `&mut`; a plain field.
        unsafe { (*self.as_ptr()).iova = iova };
        Ok(())
    }

    fn describe(&mut self, map: &MappedSg, page_size: u32) -> Result {
        // Drivers shift by its logarithm.
        if !page_size.is_power_of_two() {
            return Err(EINVAL);
        }
        let segments = i32::try_from(map.segments())?;
        // SAFETY: The region is exclusive (`&mut`); the table is mapped and has this number of
        // segments.
        let mapped = unsafe {
            bindings::ib_map_mr_sg(
                self.as_ptr(),
                map.as_ptr(),
                segments,
                core::ptr::null_mut(),
                page_size,
            )
        };
        if mapped < 0 {
            return Err(Error::from_errno(mapped));
        }
        match mapped == segments {
            true => Ok(()),
            false => Err(EINVAL),
        }
    }

    /// Steps the remote key to the [next one](next_key), and the low byte of the local key,
    /// which must be the same.
    pub(crate) fn bump_key(&mut self) {
        let mr = self.as_ptr();
        // SAFETY: Exclusive by `&mut`; the keys are plain fields.
        unsafe {
            (*mr).rkey = next_key((*mr).rkey);
            (*mr).lkey = ((*mr).lkey & !0xff) | ((*mr).rkey & 0xff);
        }
    }

    /// Returns the remote key.
    pub(crate) fn rkey(&self) -> u32 {
        // SAFETY: Only written through `&mut self`.
        unsafe { (*self.as_ptr()).rkey }
    }

    /// Returns the address that the peer uses for the first byte.
    pub(crate) fn iova(&self) -> u64 {
        // SAFETY: As above.
        unsafe { (*self.as_ptr()).iova }
    }

    /// Returns the number of mapped bytes.
    pub(crate) fn length(&self) -> u64 {
        // SAFETY: As above.
        unsafe { (*self.as_ptr()).length }
    }

    /// Returns a segment that names the whole region.
    pub(crate) fn sge(&self) -> Result<Sge<'_>> {
        // SAFETY: As above.
        let lkey = unsafe { (*self.as_ptr()).lkey };
        Sge::new(self.iova(), usize::try_from(self.length())?, lkey)
    }
}

impl Drop for Mr {
    fn drop(&mut self) {
        // The device is the one of the PD, which is kept alive for this call.
        let _pd = &self.pd;
        // SAFETY: Owned by the type invariants; by the ownership of posted operations no work
        // request names it. Fails only for regions with a use count, which kernel regions do
        // not have.
        unsafe { bindings::ib_dereg_mr_user(self.as_ptr(), core::ptr::null_mut()) };
    }
}
