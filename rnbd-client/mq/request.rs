// SPDX-License-Identifier: GPL-2.0-only

//! Requests and who owns them.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::atomic::Acquire;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::atomic::Release;
use kernel::warn_on;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Make everything that was acknowledged so far durable.
    Flush,
    /// The sectors' contents are no longer needed.
    Discard,
    /// Erase sectors beyond recovery.
    SecureErase,
    /// Make the sectors read as zeroes.
    WriteZeroes,
}

impl Op {
    /// `EOPNOTSUPP` for those that a disk without special features never gets.
    pub(super) fn of(flags: bindings::blk_opf_t) -> Result<Self> {
        let mask = (1 << bindings::REQ_OP_BITS) - 1;
        match flags & mask {
            bindings::req_op_REQ_OP_READ => Ok(Self::Read),
            bindings::req_op_REQ_OP_WRITE => Ok(Self::Write),
            bindings::req_op_REQ_OP_FLUSH => Ok(Self::Flush),
            bindings::req_op_REQ_OP_DISCARD => Ok(Self::Discard),
            bindings::req_op_REQ_OP_SECURE_ERASE => Ok(Self::SecureErase),
            bindings::req_op_REQ_OP_WRITE_ZEROES => Ok(Self::WriteZeroes),
            _ => Err(EOPNOTSUPP),
        }
    }
}

/// What a request came by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// A queue whose requests end by themselves.
    Default,
    /// The polled queue of this number, from 0: somebody calls
    /// [`super::Operations::poll`] for it until the request is done.
    Polled(u32),
}

impl Queue {
    /// # Safety
    ///
    /// `hctx` must be a hardware queue of a disk made by [`super::Disk`].
    pub(super) unsafe fn of(hctx: NonNull<bindings::blk_mq_hw_ctx>) -> Self {
        // SAFETY: Neither changes while the disk exists.
        let (kind, number) = unsafe { ((*hctx.as_ptr()).type_, (*hctx.as_ptr()).queue_num) };
        if u32::from(kind) != super::tag_set::POLLED {
            return Self::Default;
        }
        // SAFETY: The queue's tag set is a `TagSet`, which the disk keeps.
        let set = unsafe { &*(*(*hctx.as_ptr()).queue).tag_set };
        let first = set.map.get(super::tag_set::POLLED as usize);
        Self::Polled(number.saturating_sub(first.map_or(0, |map| map.queue_offset)))
    }
}

/// Modifiers of a request.
#[derive(Clone, Copy)]
pub(crate) struct Flags(bindings::blk_opf_t);

impl Flags {
    fn has(self, bit: bindings::req_flag_bits) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// Someone waits for this request.
    pub(crate) fn sync(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_SYNC)
    }

    /// The data must be durable when the request is done.
    pub(crate) fn fua(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_FUA)
    }

    /// The write cache is to be flushed first.
    pub(crate) fn preflush(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_PREFLUSH)
    }

    /// WRITE ZEROES has to keep the blocks allocated.
    pub(crate) fn nounmap(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_NOUNMAP)
    }
}

/// What this module keeps with each request, in the space behind it.
///
/// The state guards against a second completion: [`Request`] cannot be used
/// twice in safe code, but it crosses the transport as a raw pointer.
pub(super) struct Pdu {
    /// `IDLE`, `STARTED`, or `DONE` with the status in the low byte.
    state: Atomic<u32>,
    times: Times,
}

/// When something happened to a request, in nanoseconds; left over from an earlier one
/// where nobody noted it. For the driver.
pub(crate) struct Times {
    /// The driver got it.
    pub(crate) began: Atomic<u64>,
    /// It was sent, the last time.
    pub(crate) sent: Atomic<u64>,
}

/// Until a request that the driver had no room for is handed out once more, in
/// milliseconds.
const A_WHILE_MS: usize = 10;

const IDLE: u32 = 0x000;
const STARTED: u32 = 0x100;
const DONE: u32 = 0x200;

impl Pdu {
    pub(super) fn new() -> Self {
        Self {
            state: Atomic::new(IDLE),
            times: Times {
                began: Atomic::new(0),
                sent: Atomic::new(0),
            },
        }
    }

    /// The private data of `rq`.
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a [`super::TagSet`] and stay so for `'a`.
    unsafe fn of<'a>(rq: NonNull<bindings::request>) -> &'a Self {
        // SAFETY: The tag set reserves the space, `init_request` initialised it.
        unsafe { &*bindings::blk_mq_rq_to_pdu(rq.as_ptr()).cast() }
    }
}

/// A request that blk-mq passes to `queue_rq`.
///
/// Dropping it fails the request.
///
/// # Invariants
///
/// `rq` is a request of a [`super::TagSet`], not started, and this is the only
/// way to reach it.
pub(crate) struct IdleRequest<'a> {
    rq: NonNull<bindings::request>,
    _callback: PhantomData<&'a ()>,
}

impl IdleRequest<'_> {
    /// # Safety
    ///
    /// `rq` must be a request of a [`super::TagSet`] that blk-mq hands over in
    /// a call of `queue_rq` which answers `BLK_STS_OK`.
    pub(super) unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            rq,
            _callback: PhantomData,
        }
    }

    /// Takes the request over for execution.
    pub(crate) fn start(self) -> Request {
        let rq = ManuallyDrop::new(self).rq;
        // SAFETY: By the type invariant.
        let pdu = unsafe { Pdu::of(rq) };
        pdu.state.store(STARTED, Relaxed);
        // SAFETY: By the type invariant.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // INVARIANT: Started, and the only owner moved here.
        Request { rq }
    }
}

impl Drop for IdleRequest<'_> {
    fn drop(&mut self) {
        // INVARIANT: `self` is not used any more.
        // SAFETY: The type invariant holds for the copy.
        drop(unsafe { IdleRequest::from_raw(self.rq) }.start());
    }
}

/// A request that is being executed, owned by the driver.
///
/// Dropping it fails the request with `EIO`.
///
/// # Invariants
///
/// `rq` is a started request of a [`super::TagSet`]; blk-mq and the submitter
/// leave it, and the pages it names, alone until it is completed.
pub(crate) struct Request {
    rq: NonNull<bindings::request>,
}

// SAFETY: Any context may execute and complete a request.
unsafe impl Send for Request {}
// SAFETY: What `&self` reads does not change while the request is owned.
unsafe impl Sync for Request {}

impl Request {
    fn raw(&self) -> &bindings::request {
        // SAFETY: By the type invariant; the fields read below are constant
        // while the driver owns the request.
        unsafe { self.rq.as_ref() }
    }

    /// The operation; `EOPNOTSUPP` for those that a disk without special
    /// features never gets.
    pub(crate) fn op(&self) -> Result<Op> {
        Op::of(self.raw().cmd_flags)
    }

    /// The modifiers.
    pub(crate) fn flags(&self) -> Flags {
        Flags(self.raw().cmd_flags)
    }

    /// First sector, in units of 512 bytes.
    pub(crate) fn sector(&self) -> u64 {
        self.raw().__sector
    }

    /// Bytes it covers; for operations without data these are not transferred.
    pub(crate) fn bytes(&self) -> u32 {
        self.raw().__data_len
    }

    /// I/O priority of the submitter (`linux/ioprio.h`).
    pub(crate) fn ioprio(&self) -> u16 {
        let bio = self.raw().bio;
        if bio.is_null() {
            return 0;
        }
        // SAFETY: The bios of a request stay with it while the driver owns it.
        unsafe { (*bio).bi_ioprio }
    }

    /// The tag: less than the depth of the tag set, and no other started
    /// request of any disk of the tag set has it.
    pub(crate) fn tag(&self) -> u32 {
        // A started request has a driver tag, which is not negative.
        self.raw().tag.unsigned_abs()
    }

    /// The queue it came by.
    pub(crate) fn queue(&self) -> Queue {
        NonNull::new(self.raw().mq_hctx).map_or(Queue::Default, |hctx| {
            // SAFETY: The queue of a request of one of our disks.
            unsafe { Queue::of(hctx) }
        })
    }

    /// The driver of the disk that the request is for.
    ///
    /// # Safety
    ///
    /// It is a `T`.
    pub(super) unsafe fn driver<T: super::Operations>(&self) -> &T {
        // SAFETY: `Disk` set `queuedata` to a `T` that it keeps until its queue is
        // dead, which waits for the request.
        unsafe { &*(*self.raw().q).queuedata.cast::<T>() }
    }

    /// Times of its life.
    pub(crate) fn times(&self) -> &Times {
        // SAFETY: By the type invariant, as long as `self` is there.
        &unsafe { Pdu::of(self.rq) }.times
    }

    /// Number of entries that [`Request::map`] fills in at most.
    fn segments(&self) -> usize {
        usize::from(self.raw().nr_phys_segments)
    }

    /// Puts the pages of a READ or WRITE into `list` and returns the number of
    /// entries used.
    ///
    /// # Safety
    ///
    /// `list` must point to `capacity` entries set up by `sg_init_table`.
    pub(super) unsafe fn map(
        &self,
        list: *mut bindings::scatterlist,
        capacity: usize,
    ) -> Result<usize> {
        match self.op()? {
            Op::Read | Op::Write => (),
            _ => return Ok(0),
        }
        if self.segments() > capacity {
            return Err(EINVAL);
        }
        let mut last = core::ptr::null_mut();
        // SAFETY: The request is owned; it has at most `capacity` segments, for
        // which the caller provides room.
        let count = unsafe { bindings::__blk_rq_map_sg(self.rq.as_ptr(), list, &mut last) };
        Ok(usize::try_from(count)?)
    }

    /// Completes the request. Any context.
    pub(crate) fn done(self, result: Result) {
        let rq = ManuallyDrop::new(self).rq;
        let errno = result.err().map_or(0, Error::to_errno);
        // SAFETY: A table lookup.
        let status = unsafe { bindings::errno_to_blk_status(errno) };
        // SAFETY: By the type invariant.
        let pdu = unsafe { Pdu::of(rq) };
        if pdu
            .state
            .cmpxchg(STARTED, DONE | u32::from(status), Release)
            .is_err()
        {
            // Completed before: the owner is lost, so it must not be touched.
            warn_on!(true);
            return;
        }
        // SAFETY: The request is started and was not completed, see above.
        unsafe { bindings::blk_mq_complete_request(rq.as_ptr()) };
    }

    /// Gives the request back to the block layer, which hands it out once more in a
    /// while. In `queue_rq` only.
    pub(crate) fn later(self) {
        let rq = ManuallyDrop::new(self).rq;
        // SAFETY: By the type invariant.
        let pdu = unsafe { Pdu::of(rq) };
        if pdu.state.cmpxchg(STARTED, IDLE, Release).is_err() {
            // As in `done`.
            warn_on!(true);
            return;
        }
        // SAFETY: The request is started and was not completed, see above. Its queue stays
        // while `queue_rq` runs.
        unsafe {
            let queue = (*rq.as_ptr()).q;
            bindings::blk_mq_requeue_request(rq.as_ptr(), false);
            // Else it would be put off for those that wait already.
            if !rtrs::bindings::blk_requeue_pending(queue) {
                bindings::blk_mq_delay_kick_requeue_list(queue, A_WHILE_MS);
            }
        }
    }

    /// Gives the ownership up for a pointer.
    pub(super) fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).rq.cast()
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`Request::into_raw`], once.
    pub(super) unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // INVARIANT: As for the request that was given up.
        Self { rq: ptr.cast() }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // INVARIANT: `self` is not used any more.
        Self { rq: self.rq }.done(Err(EIO));
    }
}

/// Returns a completed request to the block layer, on the CPU of its submitter.
///
/// # Safety
///
/// `rq` must be a request that [`Request::done`] was called for, passed by
/// blk-mq to `complete`.
pub(super) unsafe fn end(rq: NonNull<bindings::request>) {
    // SAFETY: By the safety requirement.
    let pdu = unsafe { Pdu::of(rq) };
    let state = pdu.state.load(Acquire);
    pdu.state.store(IDLE, Relaxed);
    // The low byte is the status.
    let status = (state & 0xff) as bindings::blk_status_t;
    // SAFETY: By the safety requirement; nobody uses the request after this.
    unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status) };
}
