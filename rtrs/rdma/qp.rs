// SPDX-License-Identifier: GPL-2.0-only

//! Posting on queue pairs.

mod shared;

use super::op::HeldOp;
use super::op::Op;
use super::op::Operation;
use super::op_set::KeptOpSet;
use super::op_set::OpSet;
use super::wr::Remote;
use super::wr::SendChain;
use super::wr::Sge;
use crate::bindings;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::op_state::AwaitedEvents;
use rnbd_proto::op_state::CancelOutcome;
use rnbd_proto::sq_credits::QueueProgress;

pub(super) use shared::QpShared;

/// Where completions of a connection are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollContext {
    /// In softirq: shortest way, must not sleep.
    Softirq,
    /// In a worker: may sleep.
    Worker,
    /// Nowhere by themselves: whoever waits calls [`super::connection::Connection::poll`].
    Caller,
}

/// The size of a queue pair and its completion queue.
#[derive(Clone, Copy, Debug)]
pub struct QpConfig {
    /// Send work requests that can be outstanding.
    pub send: u32,
    /// Of these, what quiet posts are to leave to others.
    pub reserve: u32,
    /// Receives that can be outstanding.
    pub recv: u32,
    /// Segments of one send work request.
    pub send_sge: u32,
    /// Completion vector; taken modulo what the device has.
    pub vector: u32,
    /// Where completions are handled.
    pub poll: PollContext,
    /// Immediates travel as inline_imm: messages that begin with what the immediate would
    /// have been. Receives must have room for that ([`rnbd_proto::imm::INLINE_IMM_SIZE`]),
    /// and read it themselves. For devices that have no immediates.
    pub inline_imm: bool,
}

/// What [`QpRef::nudge`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is outstanding, or what was is done.
    Fine,
    /// Nothing has moved since the last call.
    Nudged,
    /// Something outstanding will never be done, or nothing has been for long: the
    /// connection is of no use.
    Broken,
}

/// What became of a post.
enum Posted {
    All,
    Nothing(Error),
    Part,
}

/// Room in the send queue beside that for what is posted.
#[derive(Clone, Copy)]
struct ReservedCredits {
    /// To be kept from now on.
    kept: u32,
    /// Kept before, to be used.
    used: u32,
}

impl ReservedCredits {
    const NONE: Self = Self { kept: 0, used: 0 };
}

/// A queue pair on which operations with context `C` can be posted.
pub struct QpRef<'a, C> {
    qp: NonNull<bindings::ib_qp>,
    shared: &'a QpShared<C>,
}

impl<'a, C: Send + Sync + 'static> QpRef<'a, C> {
    /// What the queue pair was made for.
    pub fn context(&self) -> &'a Arc<C> {
        &self.shared.context
    }

    /// Whether immediates travel as notes.
    pub fn inline_imm(&self) -> bool {
        self.shared.inline_imm
    }

    /// Keeps the operations of `set`, so that chains of them can be posted
    /// [quietly](Self::post_unsignaled). False if it keeps a set already.
    pub fn keep<T: Operation<Context = C>>(&self, set: &Arc<OpSet<T>>) -> bool {
        self.shared.keep.populate(KeptOpSet::new(set.clone()))
    }

    fn keeps<T: Operation<Context = C>>(&self, idle: &HeldOp<T>) -> bool {
        let keep = self.shared.keep.as_ref();
        keep.is_some_and(|keep| keep.has(idle.op()))
    }

    /// Posts the chain that `build` makes of the operation's data.
    ///
    /// On success the operation belongs to the hardware, and comes back by
    /// [`Operation::finish`], perhaps before this returns. On failure it is
    /// given back: `ENOTCONN` after the connection began to drain, `ENOSPC` when
    /// the queue is full, else what `build` or the device said.
    ///
    /// Where only an answer is awaited, the chain is posted
    /// [quietly](Self::post_unsignaled).
    pub fn post_send<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        awaited: AwaitedEvents,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        self.post_chain(idle, awaited, ReservedCredits::NONE, build)
    }

    /// As [`Self::post_send`], and keeps room for `spare` work requests that must follow.
    /// Each goes with [`Self::post_send_reserved`] or is given back by [`Self::release_reserved`].
    pub fn post_send_and_reserve<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        awaited: AwaitedEvents,
        spare: u32,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let spare = ReservedCredits {
            kept: spare,
            used: 0,
        };
        self.post_chain(idle, awaited, spare, build)
    }

    /// As [`Self::post_send`], of one work request for which room was kept, and is kept
    /// if this fails.
    pub fn post_send_reserved<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        awaited: AwaitedEvents,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        self.post_chain(idle, awaited, ReservedCredits { kept: 0, used: 1 }, build)
    }

    /// The work request for which room was kept is not going to follow.
    pub fn release_reserved(&self) {
        self.shared.credits.use_set_aside(1);
        self.shared.credits.release(1);
    }

    fn post_chain<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        awaited: AwaitedEvents,
        spare: ReservedCredits,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let told = awaited.has_send_completion();
        if !told && !self.keeps(&idle) {
            return Err((idle, EPERM));
        }
        let mut chain = SendChain::new(self.shared.inline_imm);
        if let Err(e) = build(&idle, &mut chain) {
            return Err((idle, e));
        }
        let cqe = told.then(|| idle.op().cqe());
        let first = match chain.link(cqe, self.shared.chained.get()) {
            Ok(first) => first,
            Err(e) => return Err((idle, e)),
        };
        let (credits, wrs) = (&self.shared.credits, chain.len());
        let taken = wrs.saturating_add(spare.kept).saturating_sub(spare.used);
        if taken > 0 && !credits.reserve(taken) {
            return Err((idle, ENOSPC));
        }
        credits.set_aside(spare.kept);
        credits.use_set_aside(spare.used);
        let debt = if told { credits.take_deferred() } else { 0 };
        idle.op().set_wrs(wrs.saturating_add(debt));
        // SAFETY: The chain is linked, does not move, and names memory that the
        // launched operation owns until the hardware gives it back, or that is kept.
        let posted = self.hand_over(idle, awaited, || unsafe { self.post(first) });
        match posted {
            Ok(()) if told => {}
            Ok(()) => credits.defer(wrs),
            Err(_) => {
                credits.set_aside(spare.used);
                credits.use_set_aside(spare.kept);
                credits.release(taken);
                credits.defer(debt);
            }
        }
        posted
    }

    /// Whether the queue has so little room that the next post should not be
    /// [quiet](Self::post_unsignaled), see [`QpConfig::reserve`].
    pub fn is_low_on_credits(&self) -> bool {
        self.shared.credits.is_below(self.shared.reserve)
    }

    /// Posts the chain that `build` makes of the operation's data without asking to be
    /// told of its end, and gives the operation back.
    ///
    /// The device may use the memory that the chain names, as the chain says, until it
    /// tells the end of something posted later on this queue pair, or is drained: what
    /// the peer gets of data that is changed before is not known. Nothing is freed
    /// before that, as the queue pair must [keep](Self::keep) the operation.
    ///
    /// # Errors
    ///
    /// `EPERM` if it does not keep it, else as for [`QpRef::post_send`]. Nothing was
    /// posted then.
    pub fn post_unsignaled<T: Operation<Context = C>>(
        &self,
        idle: &HeldOp<T>,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> Result {
        if !self.keeps(idle) {
            return Err(EPERM);
        }
        let mut chain = SendChain::new(self.shared.inline_imm);
        build(idle, &mut chain)?;
        let first = chain.link(None, self.shared.chained.get())?;
        let (credits, wrs) = (&self.shared.credits, chain.len());
        if !credits.reserve(wrs) {
            return Err(ENOSPC);
        }
        // SAFETY: The chain is linked, does not move, and names memory that is kept.
        match self.gated(|| unsafe { self.post(first) }) {
            Posted::Nothing(e) => {
                credits.release(wrs);
                Err(e)
            }
            Posted::All | Posted::Part => {
                credits.defer(wrs);
                Ok(())
            }
        }
    }

    /// # Safety
    ///
    /// `first` must be a linked chain, which names memory that stays until the hardware
    /// is done with it.
    unsafe fn post(&self, first: *mut bindings::ib_send_wr) -> Posted {
        let mut refused: *const bindings::ib_send_wr = core::ptr::null();
        // SAFETY: The queue pair is alive as `self` is, the rest as the caller promises.
        let ret = unsafe { bindings::ib_post_send(self.qp.as_ptr(), first, &raw mut refused) };
        match to_result(ret) {
            Ok(()) => Posted::All,
            Err(e) if core::ptr::eq(refused, first) => Posted::Nothing(e),
            // Without a word about where it stopped, it may have taken all.
            Err(_) => {
                pr_err!("device took only a part of a request\n");
                self.shared.broken.store(true, Relaxed);
                Posted::Part
            }
        }
    }

    /// Posts by `post` unless the gate is closed.
    fn gated(&self, post: impl FnOnce() -> Posted) -> Posted {
        if !self.shared.gate.enter() {
            return Posted::Nothing(ENOTCONN);
        }
        let posted = post();
        self.shared.gate.leave();
        posted
    }

    /// Posts a receive, into the segment that `buffer` names or without any.
    ///
    /// As [`QpRef::post_send`].
    pub fn post_recv<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        buffer: impl for<'b> FnOnce(&'b T) -> Result<Option<Sge<'b>>>,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let sge = match buffer(&idle) {
            Ok(sge) => sge.map(|sge| sge.raw()),
            Err(e) => return Err((idle, e)),
        };
        let num_sge = i32::from(sge.is_some());
        let mut list = sge.unwrap_or_default();
        let mut wr = bindings::ib_recv_wr {
            sg_list: &raw mut list,
            num_sge,
            ..Default::default()
        };
        // SAFETY: Any pointer is valid for this member of the union.
        unsafe { *wr.__bindgen_anon_1.wr_cqe.as_mut() = idle.op().cqe() };
        idle.op().set_wrs(0);
        self.hand_over(idle, AwaitedEvents::Send, || {
            let mut refused = core::ptr::null();
            // SAFETY: As in `post_send`.
            let ret = unsafe {
                bindings::ib_post_recv(self.qp.as_ptr(), &raw const wr, &raw mut refused)
            };
            to_result(ret).map_or_else(Posted::Nothing, |()| Posted::All)
        })
    }

    /// Hands the peer an immediate without owning anything: for heartbeats.
    pub fn post_imm(&self, imm: u32) -> Result {
        self.post_unowned(&self.shared.chained, |chain| chain.imm_only(imm))
    }

    /// Posts one work request that names no memory, and whose end `cqe` sees.
    fn post_unowned(
        &self,
        cqe: &UnsafeCell<bindings::ib_cqe>,
        build: impl FnOnce(&mut SendChain<'static>) -> Result,
    ) -> Result {
        let mut chain = SendChain::new(self.shared.inline_imm);
        build(&mut chain)?;
        let cqe = cqe.get();
        let first = chain.link(Some(cqe), cqe)?;
        if !self.shared.credits.reserve(1) {
            return Err(ENOSPC);
        }
        // SAFETY: The chain is linked and does not move; no memory is named.
        match self.gated(|| unsafe { self.post(first) }) {
            Posted::Nothing(e) => {
                self.shared.credits.release(1);
                Err(e)
            }
            Posted::All | Posted::Part => Ok(()),
        }
    }

    /// Sees to it that the device goes on with what was posted. To be called every few
    /// seconds, much more than any send takes. If nothing had moved since the last call
    /// the device is given an RDMA write of nothing, which no peer sees.
    ///
    /// Soft-RoCE can fall asleep with work to do: it stops at a number of packets under
    /// way, and misses that they were sent if that happens before it has said so
    /// (`need_req_skb` in rxe_requester). It wakes up with the next request, for which
    /// everybody may be waiting. A queue that gives nothing back even so is given up in
    /// the end.
    pub fn nudge(&self) -> Progress {
        if self.shared.broken.load(Relaxed) {
            return Progress::Broken;
        }
        let credits = &self.shared.credits;
        let look = credits.check_progress();
        match look {
            QueueProgress::Moving => return Progress::Fine,
            QueueProgress::Dead => return Progress::Broken,
            QueueProgress::OnlyDeferred | QueueProgress::Stalled => {}
        }
        // Behind all that is outstanding. Without room or without a connection there is
        // nothing to be done.
        let nowhere = Remote { addr: 0, rkey: 0 };
        let passes = credits.begin_nop();
        let cqe = match passes {
            true => &self.shared.nop,
            false => &self.shared.chained,
        };
        let posted = self.post_unowned(cqe, |chain| chain.rdma_write(&[], nowhere));
        match posted {
            Ok(()) => credits.nop_posted(),
            Err(_) if passes => credits.nop_failed(),
            Err(_) => {}
        }
        match look {
            QueueProgress::Stalled => Progress::Nudged,
            _ => Progress::Fine,
        }
    }

    /// Gives back the room of an operation that the hardware is done with.
    pub(super) fn sent<T: Operation<Context = C>>(&self, op: &Op<T>) {
        self.shared.credits.release(op.wrs());
    }

    /// Hands the operation to the hardware by `post`.
    fn hand_over<T: Operation<Context = C>>(
        &self,
        idle: HeldOp<T>,
        awaited: AwaitedEvents,
        post: impl FnOnce() -> Posted,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let op = idle.into_op();
        op.state().post(awaited);
        // Becomes the hardware's, if that is to tell the end: `Op::done` takes it back.
        let reference = Arc::into_raw(op);
        let posted = self.gated(post);
        if awaited.has_send_completion() && !matches!(posted, Posted::Nothing(_)) {
            // The end of a part of a chain will never complete. Nobody can tell when the
            // device is done with the memory of the part, so it is never freed: the
            // reference of the hardware stays.
            return Ok(());
        }
        // SAFETY: Made above, and the hardware has not got it.
        let op = unsafe { Arc::from_raw(reference) };
        let Posted::Nothing(e) = posted else {
            return Ok(());
        };
        let cancelled = loop {
            match op.state().cancel_post() {
                CancelOutcome::Busy => core::hint::spin_loop(),
                cancelled => break cancelled,
            }
        };
        match cancelled {
            // A peer that answers what it was not sent has finished it.
            CancelOutcome::Gone => Ok(()),
            // SAFETY: `cancel_post` made us the holder again.
            _ => Err((unsafe { HeldOp::from_op(op) }, e)),
        }
    }
}
