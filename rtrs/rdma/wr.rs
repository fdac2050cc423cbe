// SPDX-License-Identifier: GPL-2.0-only

//! Chains of send work requests, built on the stack.

use super::mr::Access;
use super::mr::Mr;
use super::sg::MappedSg;
use crate::bindings;
use core::iter;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::mem::MaybeUninit;
use kernel::prelude::*;
use rnbd_proto::imm::INLINE_IMM_SIZE;

/// Flags of a request whose data the device copies when it is posted. Its segments are
/// addresses for the CPU, which those of mapped memory are as well for devices in
/// software. Only these may be used so: [`rnbd_proto::device_caps::DeviceAttrs::immediates`].
const INLINE: c_int = bindings::ib_send_flags_IB_SEND_INLINE as c_int;

/// Work requests in one chain.
const MAX_WRS: usize = 5;
/// Memory segments in one chain.
const MAX_SGES: usize = 20;

/// The most segments that one work request of a chain may name beside one for
/// a header; a device may allow less.
pub const MAX_DATA_SGES: usize = 16;

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

    /// All of a mapped segment.
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

/// Memory of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where.
    pub addr: u64,
    /// By which right.
    pub rkey: u32,
}

/// One work request in whichever shape the opcode needs.
#[repr(C)]
union Slot {
    send: ManuallyDrop<bindings::ib_send_wr>,
    rdma: ManuallyDrop<bindings::ib_rdma_wr>,
    reg: ManuallyDrop<bindings::ib_reg_wr>,
}

impl From<bindings::ib_send_wr> for Slot {
    fn from(wr: bindings::ib_send_wr) -> Self {
        Self {
            send: ManuallyDrop::new(wr),
        }
    }
}

impl From<bindings::ib_rdma_wr> for Slot {
    fn from(wr: bindings::ib_rdma_wr) -> Self {
        Self {
            rdma: ManuallyDrop::new(wr),
        }
    }
}

impl From<bindings::ib_reg_wr> for Slot {
    fn from(wr: bindings::ib_reg_wr) -> Self {
        Self {
            reg: ManuallyDrop::new(wr),
        }
    }
}

/// A chain of up to five work requests that are posted together.
///
/// `'a` is the borrow of the operation that owns all memory named in it. Only
/// the last one is signaled, if any: as a send queue works in order, its completion
/// says that the others are done as well.
///
/// # Invariants
///
/// The first `wrs` slots and the first `sges` segments are initialised.
pub struct SendChain<'a> {
    slots: [MaybeUninit<Slot>; MAX_WRS],
    segments: [MaybeUninit<bindings::ib_sge>; MAX_SGES],
    wrs: usize,
    sges: usize,
    /// Whether immediates travel as notes, see [`super::qp::QpConfig::notes`].
    inline_imm: bool,
    /// The one that this chain has, as a device copies it when the chain is posted.
    note: Option<[u8; INLINE_IMM_SIZE]>,
    _memory: PhantomData<&'a ()>,
}

impl<'a> SendChain<'a> {
    pub(super) fn new(inline_imm: bool) -> Self {
        Self {
            slots: [const { MaybeUninit::uninit() }; MAX_WRS],
            segments: [const { MaybeUninit::uninit() }; MAX_SGES],
            wrs: 0,
            sges: 0,
            inline_imm,
            note: None,
            _memory: PhantomData,
        }
    }

    /// Number of work requests.
    pub(super) fn len(&self) -> u32 {
        // CAST: At most `MAX_WRS`.
        self.wrs as u32
    }

    fn push(&mut self, slot: impl Into<Slot>) -> Result {
        let place = self.slots.get_mut(self.wrs).ok_or(ENOSPC)?;
        // INVARIANT: One more slot is initialised.
        place.write(slot.into());
        self.wrs += 1;
        Ok(())
    }

    /// Copies segments in; the answer holds the index of the first.
    fn add_segments(&mut self, list: impl Iterator<Item = Sge<'a>>) -> Result<usize> {
        let first = self.sges;
        for sge in list {
            let place = self.segments.get_mut(self.sges).ok_or(ENOSPC)?;
            // INVARIANT: One more segment is initialised.
            place.write(sge.raw());
            self.sges += 1;
        }
        Ok(first)
    }

    /// A request with its segments; `sg_list` becomes the right pointer when
    /// the chain is linked and does not move any more, until then it holds
    /// the index.
    fn request(
        &mut self,
        opcode: bindings::ib_wr_opcode,
        list: impl Iterator<Item = Sge<'a>>,
    ) -> Result<bindings::ib_send_wr> {
        let first = self.add_segments(list)?;
        Ok(bindings::ib_send_wr {
            sg_list: core::ptr::without_provenance_mut(first),
            // CAST: At most `MAX_SGES`.
            num_sge: (self.sges - first) as i32,
            opcode,
            ..Default::default()
        })
    }

    fn with_imm(mut wr: bindings::ib_send_wr, imm: u32) -> bindings::ib_send_wr {
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.imm_data.as_mut() = imm.to_be() };
        wr
    }

    /// Makes what `mr` describes accessible under its current key.
    pub fn reg_mr(&mut self, mr: &'a Mr, access: Access) -> Result {
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_REG_MR, iter::empty())?;
        self.push(bindings::ib_reg_wr {
            wr,
            mr: mr.as_ptr(),
            key: mr.rkey(),
            access: access.raw(),
        })
    }

    /// Ends all access by `rkey`, a key of this side.
    pub fn local_inv(&mut self, rkey: u32) -> Result {
        let mut wr = self.request(bindings::ib_wr_opcode_IB_WR_LOCAL_INV, iter::empty())?;
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.invalidate_rkey.as_mut() = rkey };
        self.push(wr)
    }

    /// Writes to the peer's memory.
    pub fn rdma_write(&mut self, list: &[Sge<'a>], to: Remote) -> Result {
        let wr = self.request(
            bindings::ib_wr_opcode_IB_WR_RDMA_WRITE,
            list.iter().copied(),
        )?;
        self.push_rdma(wr, to)
    }

    /// Writes to the peer's memory and hands it an immediate.
    pub fn rdma_write_imm(&mut self, list: &[Sge<'a>], to: Remote, imm: u32) -> Result {
        self.write_imm(list.iter().copied(), to, imm)
    }

    /// Writes all of `data`, and `head` behind it, to the peer's memory and hands it an
    /// immediate.
    pub fn rdma_write_imm_behind(
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
        self.push_note(&[], imm)
    }

    /// Hands the peer an immediate and nothing else.
    pub fn imm_only(&mut self, imm: u32) -> Result {
        self.rdma_write_imm(&[], Remote { addr: 0, rkey: 0 }, imm)
    }

    /// Sends a message.
    pub fn send(&mut self, list: &[Sge<'a>]) -> Result {
        let wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND, list.iter().copied())?;
        self.push(wr)
    }

    /// Sends a message with an immediate.
    pub fn send_imm(&mut self, list: &[Sge<'a>], imm: u32) -> Result {
        if self.inline_imm {
            return self.push_note(list, imm);
        }
        let wr = self.request(
            bindings::ib_wr_opcode_IB_WR_SEND_WITH_IMM,
            list.iter().copied(),
        )?;
        self.push(Self::with_imm(wr, imm))
    }

    /// Sends an empty message that ends all access by `rkey`, a key of the
    /// peer.
    pub fn send_inv(&mut self, rkey: u32) -> Result {
        let mut wr = self.request(bindings::ib_wr_opcode_IB_WR_SEND_WITH_INV, iter::empty())?;
        // SAFETY: Any integer is valid for this member of the union.
        unsafe { *wr.ex.invalidate_rkey.as_mut() = rkey };
        self.push(wr)
    }

    /// Sends a message of a note and what `list` names, a few bytes, both of which the
    /// device copies when it is posted.
    fn push_note(&mut self, list: &[Sge<'a>], imm: u32) -> Result {
        if self.note.replace(imm.to_be_bytes()).is_some() {
            return Err(EINVAL);
        }
        // The address is known when the chain does not move any more.
        let note = Sge {
            addr: 0,
            length: INLINE_IMM_SIZE as u32,
            lkey: 0,
            _memory: PhantomData,
        };
        let first = self.add_segments(iter::once(note))?;
        self.add_segments(list.iter().copied())?;
        self.push(bindings::ib_send_wr {
            sg_list: core::ptr::without_provenance_mut(first),
            num_sge: i32::try_from(list.len())?.saturating_add(1),
            opcode: bindings::ib_wr_opcode_IB_WR_SEND,
            send_flags: INLINE,
            ..Default::default()
        })
    }

    fn push_rdma(&mut self, wr: bindings::ib_send_wr, to: Remote) -> Result {
        self.push(bindings::ib_rdma_wr {
            wr,
            remote_addr: to.addr,
            rkey: to.rkey,
        })
    }

    /// Links the chain for posting, its last request signaled with `cqe` if there is
    /// one, the others with `chained`, which only ever sees errors.
    ///
    /// The answer is the first request; it points into `self`, which must not
    /// move until it was posted. `EINVAL` for an empty chain.
    pub(super) fn link(
        &mut self,
        cqe: Option<*mut bindings::ib_cqe>,
        chained: *mut bindings::ib_cqe,
    ) -> Result<*mut bindings::ib_send_wr> {
        let mut next: *mut bindings::ib_send_wr = core::ptr::null_mut();
        let segments = self.segments.as_mut_ptr().cast::<bindings::ib_sge>();
        let note: *const u8 = match &self.note {
            Some(note) => note.as_slice().as_ptr(),
            None => core::ptr::null(),
        };
        for slot in self.slots[..self.wrs].iter_mut().rev() {
            // All shapes begin with an `ib_send_wr`.
            let wr: *mut bindings::ib_send_wr = slot.as_mut_ptr().cast();
            // SAFETY: The slot is initialised by the type invariant, and
            // `sg_list` still holds an index below `sges`, or one past the
            // last for an empty list.
            unsafe {
                let first = (*wr).sg_list.addr();
                (*wr).sg_list = if (*wr).num_sge == 0 {
                    core::ptr::null_mut()
                } else {
                    segments.add(first)
                };
                (*wr).next = next;
                let own = cqe.filter(|_| next.is_null());
                *(*wr).__bindgen_anon_1.wr_cqe.as_mut() = own.unwrap_or(chained);
                if (*wr).send_flags == INLINE {
                    // Inline segments are given by their address for the CPU.
                    (*segments.add(first)).addr = note.expose_provenance() as u64;
                }
                if own.is_some() {
                    (*wr).send_flags |= bindings::ib_send_flags_IB_SEND_SIGNALED as c_int;
                }
            }
            next = wr;
        }
        if next.is_null() {
            return Err(EINVAL);
        }
        Ok(next)
    }
}
