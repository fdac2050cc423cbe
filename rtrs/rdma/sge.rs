// SPDX-License-Identifier: GPL-2.0-only

//! Segments: pieces of mapped memory (`struct ib_sge`).

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::bindings;

/// A piece of mapped memory, named in a work request.
#[derive(Clone, Copy)]
pub struct Sge<'a> {
    addr: u64,
    length: u32,
    lkey: u32,
    _memory: PhantomData<&'a ()>,
}

impl Sge<'_> {
    pub(super) fn new(addr: u64, len: usize, lkey: u32) -> Result<Self> {
        if len == 0 {
            // Some devices take a length of 0 for 2^31.
            return Err(EINVAL);
        }
        Ok(Self {
            addr,
            length: u32::try_from(len)?,
            lkey,
            _memory: PhantomData,
        })
    }

    /// A segment whose address is written once the chain no longer moves.
    pub(super) fn unplaced(length: u32) -> Self {
        Self::of_segment(0, length, 0)
    }

    /// A whole mapped segment.
    pub(super) fn of_segment(addr: u64, length: u32, lkey: u32) -> Self {
        Self {
            addr,
            length,
            lkey,
            _memory: PhantomData,
        }
    }

    pub(super) fn raw(&self) -> bindings::ib_sge {
        bindings::ib_sge {
            addr: self.addr,
            length: self.length,
            lkey: self.lkey,
        }
    }
}
