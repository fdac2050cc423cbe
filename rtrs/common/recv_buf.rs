// SPDX-License-Identifier: GPL-2.0-only

//! Buffers for the receives of short messages.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::rdma::{
    dma::{
        DmaBuf,
        DmaDir, //
    },
    pd::Pd,
    sge::Sge,
    wc::{
        Wc,
        WcKind, //
    }, //
};

/// Buffers of `SIZE` bytes each, mapped together.
pub(crate) struct RecvBufs<const SIZE: usize>(Arc<DmaBuf>);

impl<const SIZE: usize> RecvBufs<SIZE> {
    /// Allocates `count` buffers.
    pub(crate) fn new(pd: &Arc<Pd>, count: u32) -> Result<Self> {
        let size = (count as usize).checked_mul(SIZE).ok_or(EINVAL)?;
        let buf = DmaBuf::new(pd, size, DmaDir::FromDevice)?;
        Ok(Self(Arc::new(buf, GFP_KERNEL)?))
    }

    /// Returns buffer `index`.
    pub(crate) fn get(&self, index: u32) -> Result<RecvBuf<SIZE>> {
        Ok(RecvBuf {
            buf: self.0.clone(),
            offset: (index as usize).checked_mul(SIZE).ok_or(EINVAL)?,
        })
    }
}

/// Buffer of one receive.
pub(crate) struct RecvBuf<const SIZE: usize> {
    buf: Arc<DmaBuf>,
    offset: usize,
}

impl<const SIZE: usize> RecvBuf<SIZE> {
    /// Names it in a work request.
    pub(crate) fn sge(&self) -> Result<Sge<'_>> {
        self.buf.sge(self.offset, SIZE)
    }

    /// Copies the beginning of a message that was [read](Self::read) before.
    #[inline]
    pub(crate) fn copy(&self, bytes: &mut [u8]) {
        let len = bytes.len().min(SIZE);
        if let Some(bytes) = bytes.get_mut(..len) {
            // Cannot fail: as much is in the buffer.
            let _ = self.buf.read(self.offset, bytes);
        }
    }

    /// Copies the message that arrived with `wc`, which succeeded, to `bytes` and returns it.
    /// It is empty if the peer wrote to other memory.
    #[inline]
    pub(crate) fn read<'a>(&self, wc: &Wc, bytes: &'a mut [u8; SIZE]) -> &'a [u8] {
        if wc.kind() != WcKind::Recv {
            return &[];
        }
        self.buf.sync_for_cpu(self.offset, SIZE);
        // Cannot fail: the message lies in the buffer.
        let _ = self.buf.read(self.offset, bytes);
        bytes.get(..wc.byte_len().min(SIZE)).unwrap_or_default()
    }
}
