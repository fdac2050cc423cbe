// SPDX-License-Identifier: GPL-2.0-only

//! Posting on queue pairs.

mod shared;

use core::{
    cell::UnsafeCell,
    sync::atomic::Ordering::Relaxed, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    op_state::{
        AwaitedEvents,
        EventOutcome, //
    },
    send_queue_size::SendQueueSize, //
};

use crate::{
    bindings,
    kernel_ext::set_once::SetOnce,
    pr_err_ratelimited, //
};

use super::{
    op::{
        HeldOp,
        Op,
        Operation, //
    },
    op_set::{
        KeptOpSet,
        OpSet, //
    },
    sge::RecvSegments,
    wr::SendChain, //
};

#[cfg(doc)]
use super::sge::MAX_RECV_SGES;

pub(super) use shared::QpShared;

/// Where completions of a connection are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollContext {
    /// In softirq (`IB_POLL_SOFTIRQ`): lowest latency, must not sleep. On a real-time kernel
    /// as `Worker`.
    Softirq,
    /// In a worker (`IB_POLL_WORKQUEUE`): may sleep.
    Worker,
    /// In [`Connection::poll`](super::connection::Connection::poll), which a caller that
    /// waits for a completion must call.
    Caller,
}

/// The size of a queue pair and its completion queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QpConfig {
    /// The send queue that is asked for. A device that has no space for it is asked for
    /// [less](SendQueueSize::smaller), down to `least_send`.
    pub send: SendQueueSize,
    /// The least size of the send queue.
    pub least_send: SendQueueSize,
    /// Of its work requests, the number below which posts should be signaled, so that deferred credits
    /// return; see [`QpRef::is_low_on_credits`].
    pub reserve: u32,
    /// Receive work requests that can be outstanding.
    pub recv: u32,
    /// Segments of a receive, at most [`MAX_RECV_SGES`].
    pub recv_sges: u32,
    /// Completion vector; taken modulo what the device has.
    pub vector: u32,
    /// Where completions are handled.
    pub poll: PollContext,
    /// Whether immediates travel inside messages, for devices that have no immediates.
    ///
    /// Receives must then have room for [`rnbd_proto::imm::INLINE_IMM_SIZE`] bytes, and
    /// their owner reads the immediate from there.
    pub inline_imm: bool,
}

/// Result of handing a chain to the device.
enum Posted {
    All,
    Nothing(Error),
    Part,
}

/// Send queue credits that a post sets aside, or takes from those set aside.
#[derive(Clone, Copy)]
struct ReservedCredits {
    /// To be set aside for work requests that follow.
    new: u32,
    /// Set aside before, to be used by this post.
    used: u32,
}

impl ReservedCredits {
    const NONE: Self = Self { new: 0, used: 0 };
}

/// A queue pair on which operations with context `C` can be posted.
pub(crate) struct QpRef<'a, C> {
    pub(super) shared: &'a QpShared<C>,
}

impl<'a, C: Send + Sync + 'static> QpRef<'a, C> {
    pub(super) fn new(shared: &'a QpShared<C>) -> Self {
        Self { shared }
    }

    /// Returns the context that the queue pair was created with.
    pub(crate) fn context(&self) -> &'a Arc<C> {
        &self.shared.context
    }

    /// Whether immediates travel inside messages, see [`QpConfig::inline_imm`].
    pub(crate) fn inline_imm(&self) -> bool {
        self.shared.inline_imm
    }

    /// Returns the size of the send queue.
    pub(crate) fn send_queue(&self) -> SendQueueSize {
        self.shared.send
    }

    /// Keeps the operations of `set` alive, so that they can be posted here. See [`op_set`].
    ///
    /// # Errors
    ///
    /// `ENOSPC` if too many sets are kept already, `ENOTCONN` if the queue pairs of the set are
    /// being taken down.
    ///
    /// [`op_set`]: super::op_set
    pub(crate) fn keep<T: Operation<Context = C>>(&self, set: &Arc<OpSet<T>>) -> Result {
        let kept = &self.shared.kept;
        let free = kept.iter().find(|slot| slot.as_ref().is_none());
        let free = free.ok_or(ENOSPC)?;
        // SAFETY: Either dropped here at once, before anything is posted, or by the owner of
        // `shared`, when the queue pair is gone.
        let set = unsafe { KeptOpSet::new(set.clone()) }.ok_or(ENOTCONN)?;
        free.populate(set).then_some(()).ok_or(EBUSY)
    }

    #[inline]
    fn keeps<T: Operation<Context = C>>(&self, op: &HeldOp<T>) -> bool {
        let mut kept = self.shared.kept.iter().map_while(SetOnce::as_ref);
        kept.any(|set| set.contains(op.op()))
    }

    /// Posts the chain that `build` makes of the data of an operation.
    ///
    /// On success the hardware owns the operation until [`Operation::finish`] is called,
    /// perhaps before this returns. If only a response is awaited, the chain is posted
    /// [unsignaled](Self::post_unsignaled).
    ///
    /// C function: [`ib_post_send`](srctree/include/rdma/ib_verbs.h).
    ///
    /// # Errors
    ///
    /// `EPERM` if the queue pair does not [keep](Self::keep) the operation, `ENOTCONN` once the
    /// connection is being destroyed, `ENOSPC` when the queue is full, otherwise the error of `build` or of
    /// the device. The operation is returned with the error.
    pub(crate) fn post_send<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        awaited: AwaitedEvents,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        self.post_chain(op, awaited, ReservedCredits::NONE, build)
    }

    /// As [`Self::post_send`], and reserves credits for `follow_ups` more work requests. Each
    /// is used by [`Self::post_send_reserved`] or returned by [`Self::release_reserved`].
    pub(crate) fn post_send_and_reserve<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        awaited: AwaitedEvents,
        follow_ups: u32,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let reserved = ReservedCredits {
            new: follow_ups,
            used: 0,
        };
        self.post_chain(op, awaited, reserved, build)
    }

    /// As [`Self::post_send`], for a chain of one work request with a reserved credit. The
    /// credit stays reserved if this fails.
    pub(crate) fn post_send_reserved<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        awaited: AwaitedEvents,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        self.post_chain(op, awaited, ReservedCredits { new: 0, used: 1 }, build)
    }

    /// Returns a credit that was reserved for a work request that is not going to follow.
    pub(crate) fn release_reserved(&self) {
        self.shared.posts.credits.use_set_aside(1);
        self.shared.posts.credits.unreserve(1);
    }

    fn post_chain<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        awaited: AwaitedEvents,
        reserved: ReservedCredits,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let signaled = awaited.has_send_completion();
        if !self.keeps(&op) {
            return Err((op, EPERM));
        }
        let mut chain = SendChain::new(self.shared.inline_imm, self.shared.chained.get());
        if let Err(e) = build(&op, &mut chain) {
            return Err((op, e));
        }
        let cqe = signaled.then(|| op.op().cqe());
        let first = match chain.finish(cqe) {
            Ok(first) => first,
            Err(e) => return Err((op, e)),
        };
        let (credits, wrs) = (&self.shared.posts.credits, chain.len());
        let needed = wrs
            .saturating_add(reserved.new)
            .saturating_sub(reserved.used);
        if needed > 0 && !credits.reserve(needed) {
            return Err((op, ENOSPC));
        }
        credits.set_aside(reserved.new);
        credits.use_set_aside(reserved.used);
        let deferred = if signaled { credits.take_deferred() } else { 0 };
        op.op().prepare_post(self, wrs.saturating_add(deferred));
        // SAFETY: The chain does not move, and names memory that the posted
        // operation owns until the hardware has completed it, or that is kept alive.
        let post = || unsafe { self.post(first) };
        self.hand_over(op, awaited, post, || credits.defer(wrs))
            .inspect_err(|_| {
                credits.set_aside(reserved.used);
                credits.use_set_aside(reserved.new);
                credits.unreserve(needed);
                credits.defer(deferred);
            })
    }

    /// Whether so few credits are left that the next post should be signaled, and not
    /// [unsignaled](Self::post_unsignaled).
    pub(crate) fn is_low_on_credits(&self) -> bool {
        self.shared.posts.credits.is_below(self.shared.reserve)
    }

    /// Returns how many credits are deferred: those of work requests that were not signaled, until
    /// a later one is.
    pub(crate) fn deferred_credits(&self) -> u32 {
        self.shared.posts.credits.deferred()
    }

    /// Posts the chain that `build` makes of the data of an operation without requesting a
    /// completion; the caller still holds the operation.
    ///
    /// The device may access the memory that the chain names until a later work request of
    /// this queue pair has completed, or the queue pair is destroyed. If the data is changed
    /// before, the peer may get either content. The memory is not freed before, as the queue
    /// pair must [keep](Self::keep) the operation.
    ///
    /// # Errors
    ///
    /// As for [`QpRef::post_send`]. Nothing was posted then.
    pub(crate) fn post_unsignaled<T: Operation<Context = C>>(
        &self,
        op: &HeldOp<T>,
        build: impl for<'b> FnOnce(&'b T, &mut SendChain<'b>) -> Result,
    ) -> Result {
        if !self.keeps(op) {
            return Err(EPERM);
        }
        let mut chain = SendChain::new(self.shared.inline_imm, self.shared.chained.get());
        build(op, &mut chain)?;
        let first = chain.finish(None)?;
        let (credits, wrs) = (&self.shared.posts.credits, chain.len());
        if !credits.reserve(wrs) {
            return Err(ENOSPC);
        }
        // SAFETY: The chain does not move, and names memory that is kept alive.
        match self.gated(|| unsafe { self.post(first) }) {
            Posted::Nothing(e) => {
                credits.unreserve(wrs);
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
    /// `first` must be that of a chain, and the caller has passed the gate. The memory that the
    /// chain names must stay valid until the hardware has completed it.
    unsafe fn post(&self, first: *mut bindings::ib_send_wr) -> Posted {
        let mut bad_wr: *const bindings::ib_send_wr = core::ptr::null();
        // SAFETY: The queue pair is alive while the gate is passed, the rest as the caller
        // promises.
        let ret =
            unsafe { bindings::ib_post_send(self.shared.qp().as_ptr(), first, &raw mut bad_wr) };
        match to_result(ret) {
            Ok(()) => Posted::All,
            Err(e) if core::ptr::eq(bad_wr, first) => {
                self.log_refusal(e);
                Posted::Nothing(e)
            }
            // If the device does not say where it stopped, it may have taken the whole chain.
            Err(e) => {
                self.log_refusal(e);
                pr_err!("RDMA device accepted only a part of a request; its connection will be closed\n");
                self.shared.broken.store(true, Relaxed);
                Posted::Part
            }
        }
    }

    /// Logs that the device refused a work request as it lacks a feature, if `e` says so.
    #[cold]
    fn log_refusal(&self, e: Error) {
        if e != EINVAL && e != EOPNOTSUPP {
            return;
        }
        let log_key = Arc::as_ptr(&self.shared.context).addr() as u64;
        pr_err_ratelimited!(log_key => "RDMA device refused a work request: {e:?}; it may lack immediates\n");
    }

    /// Calls `post` unless the gate is closed.
    fn gated(&self, post: impl FnOnce() -> Posted) -> Posted {
        match self.shared.posts.gate.pass() {
            Some(_pass) => post(),
            None => Posted::Nothing(ENOTCONN),
        }
    }

    /// Posts a receive into the segments that `build` adds, which may be none
    /// ([`ib_post_recv`](srctree/include/rdma/ib_verbs.h)).
    ///
    /// # Errors
    ///
    /// As [`QpRef::post_send`].
    pub(crate) fn post_recv<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        build: impl for<'b> FnOnce(&'b T, &mut RecvSegments<'b>) -> Result,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        if !self.keeps(&op) {
            return Err((op, EPERM));
        }
        let mut segments = RecvSegments::new();
        if let Err(e) = build(&op, &mut segments) {
            return Err((op, e));
        }
        let (mut list, num_sge) = segments.into_raw();
        let mut wr = bindings::ib_recv_wr {
            sg_list: list.as_mut_ptr(),
            num_sge,
            ..Default::default()
        };
        // SAFETY: Any pointer is valid for this member of the union.
        unsafe { *wr.__bindgen_anon_1.wr_cqe.as_mut() = op.op().cqe() };
        op.op().prepare_post(self, 0);
        let post = || {
            let mut bad_wr = core::ptr::null();
            // SAFETY: The queue pair is alive while the gate is passed. The segments name memory
            // that the posted operation owns.
            let ret = unsafe {
                bindings::ib_post_recv(self.shared.qp().as_ptr(), &raw const wr, &raw mut bad_wr)
            };
            to_result(ret).map_or_else(Posted::Nothing, |()| Posted::All)
        };
        self.hand_over(op, AwaitedEvents::Send, post, || ())
    }

    /// Sends the peer an immediate that belongs to no operation, such as a heartbeat.
    pub(crate) fn post_imm(&self, imm: u32) -> Result {
        self.post_unowned(&self.shared.chained, |chain| chain.imm_only(imm))
    }

    /// Posts one work request that names no memory and belongs to no operation; `cqe` is
    /// called with its completion.
    pub(super) fn post_unowned(
        &self,
        cqe: &UnsafeCell<bindings::ib_cqe>,
        build: impl FnOnce(&mut SendChain<'static>) -> Result,
    ) -> Result {
        let mut chain = SendChain::new(self.shared.inline_imm, self.shared.chained.get());
        build(&mut chain)?;
        let cqe = cqe.get();
        let first = chain.finish(Some(cqe))?;
        if !self.shared.posts.credits.reserve(1) {
            return Err(ENOSPC);
        }
        // SAFETY: The chain does not move; no memory is named.
        match self.gated(|| unsafe { self.post(first) }) {
            Posted::Nothing(e) => {
                self.shared.posts.credits.unreserve(1);
                Err(e)
            }
            Posted::All | Posted::Part => Ok(()),
        }
    }

    /// Returns the credits of an operation that the hardware has completed.
    pub(super) fn release_credits<T: Operation<Context = C>>(&self, op: &Op<T>) {
        self.shared.posts.credits.release(op.wrs());
    }

    /// Hands the operation to the hardware with `post`. Without a send completion, calls
    /// `unsignaled` once the hardware has taken it; the response may be there already, which
    /// finishes the operation.
    fn hand_over<T: Operation<Context = C>>(
        &self,
        op: HeldOp<T>,
        awaited: AwaitedEvents,
        post: impl FnOnce() -> Posted,
        unsignaled: impl FnOnce(),
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        let op = op.into_op();
        op.state().post(awaited);
        if awaited.has_send_completion() {
            // Passes to the hardware: `Op::done` takes it back.
            let reference = Arc::into_raw(op);
            return match self.gated(post) {
                // SAFETY: Made above, and not passed to the hardware.
                Posted::Nothing(e) => Self::cancel(unsafe { Arc::from_raw(reference) }, e),
                // The last work request of a part of a chain never completes. Its operation is
                // given back when its queue pairs are gone.
                Posted::All | Posted::Part => Ok(()),
            };
        }
        // Teardown, which takes out what has no response, waits until this is done.
        let Some(_pass) = self.shared.posts.gate.pass() else {
            return Self::cancel(op, ENOTCONN);
        };
        if let Posted::Nothing(e) = post() {
            return Self::cancel(op, e);
        }
        unsignaled();
        if op.state().posted() == EventOutcome::Last {
            // SAFETY: The last event makes this task the holder.
            T::finish(unsafe { HeldOp::from_op(op) }, Some(self), None);
        }
        Ok(())
    }

    /// Gives back an operation that the hardware did not take because of `e`. If the peer responds
    /// nevertheless, at this moment, the response finishes the operation.
    fn cancel<T: Operation<Context = C>>(
        op: Arc<Op<T>>,
        e: Error,
    ) -> core::result::Result<(), (HeldOp<T>, Error)> {
        match op.state().cancel_post() {
            // SAFETY: `cancel_post` made this task the holder again.
            true => Err((unsafe { HeldOp::from_op(op) }, e)),
            false => Ok(()),
        }
    }
}
