// SPDX-License-Identifier: GPL-2.0-only

//! Chains of send work requests, built on the stack.

use core::{
    iter,
    marker::PhantomData,
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    }, //
};

use kernel::prelude::*;

use rnbd_proto::imm::INLINE_IMM_SIZE;

use crate::bindings;

use super::{
    mr::{
        Access,
        Mr, //
    },
    quirks::inline_imm,
    sg::MappedSg,
    sge::Sge, //
};

/// Work requests in one chain.
const MAX_WRS: usize = 5;
/// Memory segments in one chain.
const MAX_SGES: usize = 20;

/// The most segments that one work request of a chain may name beside one for
/// a header; a device may allow less.
pub(crate) const MAX_DATA_SGES: usize = 16;

/// An address in the memory of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The address.
    pub addr: u64,
    /// The key that grants access to it.
    pub rkey: u32,
}

/// A work request of any opcode.
#[repr(C)]
pub(super) union RawWr {
    send: ManuallyDrop<bindings::ib_send_wr>,
    rdma: ManuallyDrop<bindings::ib_rdma_wr>,
    reg: ManuallyDrop<bindings::ib_reg_wr>,
}

impl From<bindings::ib_send_wr> for RawWr {
    fn from(wr: bindings::ib_send_wr) -> Self {
        Self {
            send: ManuallyDrop::new(wr),
        }
    }
}

impl From<bindings::ib_rdma_wr> for RawWr {
    fn from(wr: bindings::ib_rdma_wr) -> Self {
        Self {
            rdma: ManuallyDrop::new(wr),
        }
    }
}

impl From<bindings::ib_reg_wr> for RawWr {
    fn from(wr: bindings::ib_reg_wr) -> Self {
        Self {
            reg: ManuallyDrop::new(wr),
        }
    }
}

/// A chain of up to five send work requests that are posted together.
///
/// `'a` is the borrow of the operation that owns the memory named in it. At most the last
/// work request is signaled: as a send queue works in order, its completion implies that of
/// the others.
///
/// # Invariants
///
/// - The first `wrs` slots and the first `sges` segments are initialised. Each slot points to
///   the next one, and to its segments.
/// - It does not move while it is not empty. This folder makes chains where they stay, and
///   passes on references only; each has a lifetime of its own, so their chains cannot be
///   exchanged.
pub(crate) struct SendChain<'a> {
    slots: [MaybeUninit<RawWr>; MAX_WRS],
    segments: [MaybeUninit<bindings::ib_sge>; MAX_SGES],
    wrs: usize,
    sges: usize,
    /// See [`super::qp::QpConfig::inline_imm`].
    inline_imm: bool,
    /// The inline immediate of this chain; the device copies it while the chain is posted.
    imm: Option<[u8; INLINE_IMM_SIZE]>,
    /// Where work requests complete that are not signaled; only with an error.
    chained: *mut bindings::ib_cqe,
    _memory: PhantomData<&'a ()>,
}

impl<'a> SendChain<'a> {
    /// Creates an empty chain, whose work requests complete at `chained` if they fail.
    pub(super) fn new(inline_imm: bool, chained: *mut bindings::ib_cqe) -> Self {
        Self {
            slots: [const { MaybeUninit::uninit() }; MAX_WRS],
            segments: [const { MaybeUninit::uninit() }; MAX_SGES],
            wrs: 0,
            sges: 0,
            inline_imm,
            imm: None,
            chained,
            _memory: PhantomData,
        }
    }

    /// Returns the number of work requests.
    pub(super) fn len(&self) -> u32 {
        // CAST: At most `MAX_WRS`.
        self.wrs as u32
    }

    fn push(&mut self, slot: impl Into<RawWr>) -> Result {
        let entry = self.slots.get_mut(self.wrs).ok_or(ENOSPC)?;
        entry.write(slot.into());
        let wr = entry.as_mut_ptr().cast();
        if let Some(previous) = self.last() {
            // SAFETY: Initialised, as `last` says.
            unsafe { (*previous).next = wr };
        }
        // INVARIANT: One more slot is initialised, and the one before points to it.
        self.wrs += 1;
        Ok(())
    }

    /// Returns the last work request, which is initialised.
    fn last(&mut self) -> Option<*mut bindings::ib_send_wr> {
        let slot = self.slots.get_mut(self.wrs.checked_sub(1)?)?;
        // Work requests of all opcodes begin with an `ib_send_wr`.
        Some(slot.as_mut_ptr().cast())
    }

    /// Returns a work request with a copy of its segments.
    fn request(
        &mut self,
        opcode: bindings::ib_wr_opcode,
        list: impl Iterator<Item = Sge<'a>>,
    ) -> Result<bindings::ib_send_wr> {
        let first = self.sges;
        for sge in list {
            let entry = self.segments.get_mut(self.sges).ok_or(ENOSPC)?;
            // INVARIANT: One more segment is initialised.
            entry.write(sge.raw());
            self.sges += 1;
        }
        let count = self.sges.saturating_sub(first);
        let mut wr = bindings::ib_send_wr {
            // Beyond the last segment if there is none, and not read then.
            sg_list: self.segments.as_mut_ptr().wrapping_add(first).cast(),
            // CAST: At most `MAX_SGES`.
            num_sge: count as i32,
            opcode,
            ..Default::default()
        };
        // SAFETY: Any pointer is valid for this member of the union.
        unsafe { *wr.__bindgen_anon_1.wr_cqe.as_mut() = self.chained };
        Ok(wr)
    }

    fn with_imm(mut wr: bindings::ib_send_wr, imm: u32) -> bindings::ib_send_wr {
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.imm_data.as_mut() = imm.to_be() };
        wr
    }

    /// Registers `mr` under its current key (`IB_WR_REG_MR`).
    pub(crate) fn reg_mr(&mut self, mr: &'a Mr, access: Access) -> Result {
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_REG_MR, iter::empty())?;
        self.push(bindings::ib_reg_wr {
            wr,
            mr: mr.as_ptr(),
            key: mr.rkey(),
            access: access.raw(),
        })
    }

    /// Invalidates `rkey`, a key of this side (`IB_WR_LOCAL_INV`).
    pub(crate) fn local_inv(&mut self, rkey: u32) -> Result {
        let mut wr = self.request(bindings::ib_wr_opcode_IB_WR_LOCAL_INV, iter::empty())?;
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.invalidate_rkey.as_mut() = rkey };
        self.push(wr)
    }

    /// Writes to the memory of the peer (`IB_WR_RDMA_WRITE`).
    pub(crate) fn rdma_write(&mut self, list: &[Sge<'a>], to: Remote) -> Result {
        let wr = self.request(
            bindings::ib_wr_opcode_IB_WR_RDMA_WRITE,
            list.iter().copied(),
        )?;
        self.push_rdma(wr, to)
    }

    /// Writes to the memory of the peer and sends an immediate
    /// (`IB_WR_RDMA_WRITE_WITH_IMM`).
    pub(crate) fn rdma_write_imm(&mut self, list: &[Sge<'a>], to: Remote, imm: u32) -> Result {
        self.write_imm(list.iter().copied(), to, imm)
    }

    /// Writes `data`, followed by `head`, to the memory of the peer and sends an immediate.
    pub(crate) fn rdma_write_imm_behind(
        &mut self,
        data: &'a MappedSg,
        head: Sge<'a>,
        to: Remote,
        imm: u32,
    ) -> Result {
        let list = Iterator::chain(data.sges(), iter::once(head));
        self.write_imm(list, to, imm)
    }

    fn write_imm(&mut self, list: impl Iterator<Item = Sge<'a>>, to: Remote, imm: u32) -> Result {
        if !self.inline_imm {
            let wr = self.request(bindings::ib_wr_opcode_IB_WR_RDMA_WRITE_WITH_IMM, list)?;
            return self.push_rdma(Self::with_imm(wr, imm), to);
        }
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_RDMA_WRITE, list)?;
        if wr.num_sge > 0 {
            self.push_rdma(wr, to)?;
        }
        self.push_inline_imm(&[], imm)
    }

    /// Sends an immediate without data.
    pub(crate) fn imm_only(&mut self, imm: u32) -> Result {
        self.rdma_write_imm(&[], Remote { addr: 0, rkey: 0 }, imm)
    }

    /// Sends a message (`IB_WR_SEND`).
    pub(crate) fn send(&mut self, list: &[Sge<'a>]) -> Result {
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND, list.iter().copied())?;
        self.push(wr)
    }

    /// Sends a message with an immediate (`IB_WR_SEND_WITH_IMM`).
    #[inline]
    pub(crate) fn send_imm(&mut self, list: &[Sge<'a>], imm: u32) -> Result {
        match self.inline_imm {
            true => self.push_inline_imm(list, imm),
            false => self.push_send_imm(list.iter().copied(), imm),
        }
    }

    /// Sends `head`, followed by `data`, as a message with an immediate.
    pub(crate) fn send_imm_before(
        &mut self,
        head: Sge<'a>,
        data: &'a MappedSg,
        imm: u32,
    ) -> Result {
        if self.inline_imm {
            return Err(EOPNOTSUPP);
        }
        self.push_send_imm(Iterator::chain(iter::once(head), data.sges()), imm)
    }

    fn push_send_imm(&mut self, list: impl Iterator<Item = Sge<'a>>, imm: u32) -> Result {
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND_WITH_IMM, list)?;
        self.push(Self::with_imm(wr, imm))
    }

    /// Sends an empty message that invalidates `rkey`, a key of the peer
    /// (`IB_WR_SEND_WITH_INV`).
    pub(crate) fn send_inv(&mut self, rkey: u32) -> Result {
        let mut wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND_WITH_INV, iter::empty())?;
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.invalidate_rkey.as_mut() = rkey };
        self.push(wr)
    }

    /// Adds a message that consists of `imm` and the few bytes that `list` names, all of
    /// which the device copies while it is posted ([`inline_imm`]).
    ///
    /// # Errors
    ///
    /// `EINVAL` when the chain has such a message already, `ENOSPC` when it is full.
    fn push_inline_imm(&mut self, list: &[Sge<'a>], imm: u32) -> Result {
        if self.imm.is_some() {
            return Err(EINVAL);
        }
        let imm = inline_imm::segment(self.imm.insert(imm.to_be_bytes()));
        let list = Iterator::chain(iter::once(imm), list.iter().copied());
        let mut wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND, list)?;
        wr.send_flags = inline_imm::INLINE;
        self.push(wr)
    }

    fn push_rdma(&mut self, wr: bindings::ib_send_wr, to: Remote) -> Result {
        self.push(bindings::ib_rdma_wr {
            wr,
            remote_addr: to.addr,
            rkey: to.rkey,
        })
    }

    /// Returns the first work request, for posting. With `cqe`, the last one is signaled and
    /// completes there.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an empty chain.
    pub(super) fn finish(
        &mut self,
        cqe: Option<*mut bindings::ib_cqe>,
    ) -> Result<*mut bindings::ib_send_wr> {
        let last = self.last().ok_or(EINVAL)?;
        if let Some(cqe) = cqe {
            // SAFETY: Initialised, as `last` says. Any pointer is valid for the union.
            unsafe {
                *(*last).__bindgen_anon_1.wr_cqe.as_mut() = cqe;
                (*last).send_flags |= bindings::ib_send_flags_IB_SEND_SIGNALED as c_int;
            }
        }
        Ok(self.slots.as_mut_ptr().cast())
    }
}
