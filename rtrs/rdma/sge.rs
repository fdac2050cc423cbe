// SPDX-License-Identifier: GPL-2.0-only

//! Segments: pieces of mapped memory (`struct ib_sge`).

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::bindings;

/// The most segments of a receive.
pub(crate) const MAX_RECV_SGES: usize = 2;

/// A piece of mapped memory, named in a work request.
#[derive(Clone, Copy)]
pub(crate) struct Sge<'a> {
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

    /// A whole mapped segment, or the inline immediate of a chain.
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

/// The segments of a receive, which messages fill in order.
pub(crate) struct RecvSegments<'a> {
    list: [bindings::ib_sge; MAX_RECV_SGES],
    count: usize,
    _memory: PhantomData<&'a ()>,
}

impl<'a> RecvSegments<'a> {
    pub(super) fn new() -> Self {
        Self {
            list: Default::default(),
            count: 0,
            _memory: PhantomData,
        }
    }

    /// Adds a segment. `ENOSPC` if there are [`MAX_RECV_SGES`] already.
    #[inline]
    pub(crate) fn push(&mut self, sge: Sge<'a>) -> Result {
        *self.list.get_mut(self.count).ok_or(ENOSPC)? = sge.raw();
        self.count += 1;
        Ok(())
    }

    /// Returns the list, and how much of it is used.
    pub(super) fn into_raw(self) -> ([bindings::ib_sge; MAX_RECV_SGES], i32) {
        // CAST: At most `MAX_RECV_SGES`.
        (self.list, self.count as i32)
    }
}
