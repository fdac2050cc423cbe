// SPDX-License-Identifier: GPL-2.0-only

//! Memory that is mapped for DMA as long as it is allocated.
//!
//! The device can write to it at any time, so bytes are copied in and out. Slices are only
//! given of memory that the device does not write to.

use core::ptr::NonNull;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::bindings;

use super::{
    pd::Pd,
    sge::Sge, //
};

/// Direction of DMA, `enum dma_data_direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaDir {
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
    /// The device does both.
    Both,
}

impl DmaDir {
    pub(super) fn raw(self) -> bindings::dma_data_direction {
        #[cfg(not(before_7_3))]
        let (to_device, from_device, both) = (
            bindings::dma_data_direction::DMA_TO_DEVICE,
            bindings::dma_data_direction::DMA_FROM_DEVICE,
            bindings::dma_data_direction::DMA_BIDIRECTIONAL,
        );
        #[cfg(before_7_3)]
        let (to_device, from_device, both) = (
            bindings::dma_data_direction_DMA_TO_DEVICE,
            bindings::dma_data_direction_DMA_FROM_DEVICE,
            bindings::dma_data_direction_DMA_BIDIRECTIONAL,
        );

        match self {
            DmaDir::ToDevice => to_device,
            DmaDir::FromDevice => from_device,
            DmaDir::Both => both,
        }
    }
}

/// A small mapped buffer, zeroed when allocated.
///
/// # Invariants
///
/// `ptr` is an allocation of `len` bytes, mapped at `addr` for the device of
/// `pd` in direction `dir`.
pub(crate) struct DmaBuf {
    ptr: NonNull<u8>,
    len: usize,
    addr: u64,
    dir: DmaDir,
    pd: Arc<Pd>,
}

// SAFETY: Plain memory and a mapping; neither has thread affinity.
unsafe impl Send for DmaBuf {}
// SAFETY: Shared access only copies bytes out through raw pointers. The device may write them
// concurrently; the protocol above decides what the bytes mean.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Allocates and maps `len` bytes (1 or more) of zeroes.
    pub(crate) fn new(pd: &Arc<Pd>, len: usize, dir: DmaDir) -> Result<Self> {
        if len == 0 {
            return Err(EINVAL);
        }
        let mut mem = KVec::<u8>::with_capacity(len, GFP_KERNEL)?;
        mem.resize(len, 0, GFP_KERNEL)?;
        // SAFETY: The memory is a kmalloc allocation of `len` bytes.
        let addr = unsafe {
            bindings::ib_dma_map_single(pd.device(), mem.as_mut_ptr().cast(), len, dir.raw())
        };
        // SAFETY: `addr` is the result of the call above.
        if unsafe { bindings::ib_dma_mapping_error(pd.device(), addr) } != 0 {
            return Err(ENOMEM);
        }
        let (ptr, _, _) = mem.into_raw_parts();
        // INVARIANT: Allocated and mapped above.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
            len,
            addr,
            dir,
            pd: pd.clone(),
        })
    }

    /// Returns the size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn check(&self, off: usize, len: usize) -> Result {
        match off.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Copies `src` to offset `off`. `EINVAL` when it does not fit.
    pub(crate) fn write(&mut self, off: usize, src: &[u8]) -> Result {
        self.check(off, src.len())?;
        // SAFETY: The range was checked against the allocation.
        unsafe { core::ptr::copy(src.as_ptr(), self.ptr.as_ptr().add(off), src.len()) };
        Ok(())
    }

    /// Returns the whole buffer, to be written in place. `EINVAL` if the device writes to it.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        if self.dir != DmaDir::ToDevice {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant these are `len` bytes, which were zeroed when the
        // buffer was made. `self` is borrowed mutably, and the device only reads.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) })
    }

    /// Passes the first `len` bytes to the CPU after the device wrote them, and returns them.
    /// `EINVAL` when there are fewer, or when the device also reads the buffer.
    pub(crate) fn received(&mut self, len: usize) -> Result<&[u8]> {
        if self.dir != DmaDir::FromDevice {
            return Err(EINVAL);
        }
        self.check(0, len)?;
        if len > 0 {
            self.sync_for_cpu(0, len);
        }
        // SAFETY: In range, and initialised when the buffer was made. `self` is borrowed mutably, so
        // it is not posted, and the device does not write.
        Ok(unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), len) })
    }

    /// Copies from offset `off` to fill `dst`. `EINVAL` when out of range.
    pub(crate) fn read(&self, off: usize, dst: &mut [u8]) -> Result {
        self.check(off, dst.len())?;
        // SAFETY: The range was checked against the allocation.
        unsafe { core::ptr::copy(self.ptr.as_ptr().add(off), dst.as_mut_ptr(), dst.len()) };
        Ok(())
    }

    /// Passes `len` bytes from `off` to the device after the CPU wrote them
    /// (`ib_dma_sync_single_for_device`).
    pub(crate) fn sync_for_device(&self, off: usize, len: usize) {
        if self.check(off, len).is_ok() {
            // SAFETY: The range lies in the mapping; offsets are allowed here.
            unsafe {
                bindings::ib_dma_sync_single_for_device(
                    self.pd.device(),
                    self.addr + off as u64,
                    len,
                    self.dir.raw(),
                )
            };
        }
    }

    /// Passes `len` bytes from `off` to the CPU after the device wrote them
    /// (`ib_dma_sync_single_for_cpu`).
    pub(crate) fn sync_for_cpu(&self, off: usize, len: usize) {
        if self.check(off, len).is_ok() {
            // SAFETY: As above.
            unsafe {
                bindings::ib_dma_sync_single_for_cpu(
                    self.pd.device(),
                    self.addr + off as u64,
                    len,
                    self.dir.raw(),
                )
            };
        }
    }

    /// Names `len` bytes (1 or more) from `off` in a work request.
    pub(crate) fn sge(&self, off: usize, len: usize) -> Result<Sge<'_>> {
        self.check(off, len)?;
        Sge::new(self.addr + off as u64, len, self.pd.lkey())
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: Mapped by `new` with these values, and by the ownership of
        // posted operations no work request names it any more.
        unsafe {
            bindings::ib_dma_unmap_single(self.pd.device(), self.addr, self.len, self.dir.raw())
        };
        // SAFETY: The parts come from `into_raw_parts` in `new`.
        drop(unsafe { KVec::from_raw_parts(self.ptr.as_ptr(), self.len, self.len) });
    }
}
