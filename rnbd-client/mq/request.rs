// SPDX-License-Identifier: GPL-2.0-only

//! A started request, and the right to complete it.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::{
    bindings,
    prelude::*,
    warn_on, //
};

use rnbd_proto::wire::rnbd::BlockOp;

use rtrs::client::Queue;

use super::{
    op::{
        self,
        Flags, //
    },
    queue, //
};

/// The private data of a request, which blk-mq allocates behind it.
///
/// The state guards against a second completion: safe code cannot use a [`Request`]
/// twice, but it crosses the transport as a raw pointer.
pub(super) struct Pdu {
    /// `IDLE`, `STARTED`, or `COMPLETED` with the status in the low byte.
    state: AtomicU32,
    timestamps: Timestamps,
}

/// Times in nanoseconds that the driver records. Those of an earlier request with the same
/// tag stay until they are overwritten.
pub(crate) struct Timestamps {
    /// When the driver got the request.
    pub(crate) queued: AtomicU64,
    /// When it was sent, the last time.
    pub(crate) sent: AtomicU64,
}

/// Delay before a request that the driver requeued is issued again, in milliseconds.
const REQUEUE_DELAY_MS: usize = 10;

const IDLE: u32 = 0x000;
const STARTED: u32 = 0x100;
const COMPLETED: u32 = 0x200;

impl Pdu {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(IDLE),
            timestamps: Timestamps {
                queued: AtomicU64::new(0),
                sent: AtomicU64::new(0),
            },
        }
    }

    /// Returns the private data of `rq`.
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a [`super::TagSet`] and stay so for `'a`.
    unsafe fn of<'a>(rq: NonNull<bindings::request>) -> &'a Self {
        // SAFETY: The tag set reserves the space, `init_request` initialised it.
        unsafe { &*bindings::blk_mq_rq_to_pdu(rq.as_ptr()).cast() }
    }
}

/// A started request, owned by the driver.
///
/// Dropping it completes the request with `EIO`.
///
/// # Invariants
///
/// `rq` is a started request of a [`super::TagSet`]; blk-mq and the submitter
/// do not touch it, nor the pages it names, until it is completed.
pub(crate) struct Request {
    rq: NonNull<bindings::request>,
}

// SAFETY: A request may be executed and completed in any context.
unsafe impl Send for Request {}
// SAFETY: The fields that `&self` reads do not change while the request is owned.
unsafe impl Sync for Request {}

impl Request {
    /// Takes the request over for execution, by
    /// [`blk_mq_start_request`](srctree/block/blk-mq.c).
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a [`super::TagSet`], not started, that blk-mq hands over in
    /// a call of `queue_rq` which returns `BLK_STS_OK`.
    pub(super) unsafe fn start(rq: NonNull<bindings::request>) -> Self {
        // SAFETY: By the safety requirement.
        let pdu = unsafe { Pdu::of(rq) };
        pdu.state.store(STARTED, Relaxed);
        // SAFETY: By the safety requirement.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // INVARIANT: Started, and handed over.
        Self { rq }
    }

    fn raw(&self) -> &bindings::request {
        // SAFETY: By the type invariant; the fields read below are constant
        // while the driver owns the request.
        unsafe { self.rq.as_ref() }
    }

    /// Returns the operation.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for one that a disk without special features never gets.
    pub(crate) fn op(&self) -> Result<BlockOp> {
        op::block_op(self.raw().cmd_flags)
    }

    /// Returns the modifiers.
    pub(crate) fn flags(&self) -> Flags {
        Flags::new(self.raw().cmd_flags)
    }

    /// Returns the first sector, in units of 512 bytes.
    pub(crate) fn sector(&self) -> u64 {
        self.raw().__sector
    }

    /// Returns the length in bytes, also of operations that transfer no data.
    pub(crate) fn bytes(&self) -> u32 {
        self.raw().__data_len
    }

    /// Returns the I/O priority of the submitter (`linux/ioprio.h`).
    pub(crate) fn ioprio(&self) -> u16 {
        let bio = self.raw().bio;
        if bio.is_null() {
            return 0;
        }
        // SAFETY: The bios of a request stay with it while the driver owns it.
        unsafe { (*bio).bi_ioprio }
    }

    /// Returns the tag: less than the depth of the tag set, and unique among the started
    /// requests of all disks of the tag set.
    pub(crate) fn tag(&self) -> u32 {
        // A started request has a driver tag, which is not negative.
        self.raw().tag.unsigned_abs()
    }

    /// Returns the queue that the request was issued on.
    pub(crate) fn queue(&self) -> Queue {
        NonNull::new(self.raw().mq_hctx).map_or(Queue::Cpu, |hctx| {
            // SAFETY: The queue of a request of one of our disks.
            unsafe { queue::of_hctx(hctx) }
        })
    }

    /// Returns the device that the request is for.
    ///
    /// # Safety
    ///
    /// The device must be a `T`.
    pub(super) unsafe fn device<T>(&self) -> &T {
        // SAFETY: `Disk` set `queuedata` to a `T` that it keeps until its queue is
        // dead, which waits for the request.
        unsafe { &*(*self.raw().q).queuedata.cast::<T>() }
    }

    /// Returns the times that the driver records.
    pub(crate) fn timestamps(&self) -> &Timestamps {
        // SAFETY: By the type invariant, as long as `self` exists.
        &unsafe { Pdu::of(self.rq) }.timestamps
    }

    /// Returns the largest number of entries that [`Request::map_sg`] fills in.
    fn segments(&self) -> usize {
        usize::from(self.raw().nr_phys_segments)
    }

    /// Puts the pages of a READ or WRITE into `list`, by
    /// [`__blk_rq_map_sg`](srctree/block/blk-merge.c), and returns the number of entries
    /// used.
    ///
    /// # Safety
    ///
    /// `list` must point to `capacity` entries set up by `sg_init_table`.
    pub(super) unsafe fn map_sg(
        &self,
        list: *mut bindings::scatterlist,
        capacity: usize,
    ) -> Result<usize> {
        match self.op()? {
            BlockOp::Read | BlockOp::Write => (),
            _ => return Ok(0),
        }
        if self.segments() > capacity {
            return Err(EINVAL);
        }
        let mut last = core::ptr::null_mut();
        // SAFETY: The request is owned; it has at most `capacity` segments, for
        // which the caller provides entries.
        let count = unsafe { bindings::__blk_rq_map_sg(self.rq.as_ptr(), list, &mut last) };
        Ok(usize::try_from(count)?)
    }

    /// Copies `data` to the pages of a READ.
    ///
    /// # Errors
    ///
    /// `EIO` unless it is a READ of so many bytes. Its pages may have been written then.
    pub(super) fn copy_in(&self, data: &[u8]) -> Result {
        let len = u32::try_from(data.len())?;
        if self.op()? != BlockOp::Read {
            return Err(EIO);
        }
        // SAFETY: The request is owned, and so are its pages; no more than `len` bytes are read.
        let copied =
            unsafe { rtrs::bindings::rtrs_copy_to_rq(self.rq.as_ptr(), data.as_ptr().cast(), len) };
        copied.then_some(()).ok_or(EIO)
    }

    /// Completes the request, by [`blk_mq_complete_request`](srctree/block/blk-mq.c). Any
    /// context.
    pub(crate) fn complete(self, result: Result) {
        let rq = ManuallyDrop::new(self).rq;
        let errno = result.err().map_or(0, Error::to_errno);
        // SAFETY: A table lookup.
        let status = unsafe { bindings::errno_to_blk_status(errno) };
        // SAFETY: By the type invariant.
        let pdu = unsafe { Pdu::of(rq) };
        if pdu
            .state
            .compare_exchange(STARTED, COMPLETED | u32::from(status), Release, Relaxed)
            .is_err()
        {
            // Completed before: it has another owner by now, and must not be touched.
            warn_on!(true);
            return;
        }
        // SAFETY: The request is started and was not completed, see above.
        unsafe { bindings::blk_mq_complete_request(rq.as_ptr()) };
    }

    /// Returns the request to the block layer, which issues it again after 10 ms. In
    /// `queue_rq` only.
    pub(crate) fn requeue(self) {
        let rq = ManuallyDrop::new(self).rq;
        // SAFETY: By the type invariant.
        let pdu = unsafe { Pdu::of(rq) };
        if pdu
            .state
            .compare_exchange(STARTED, IDLE, Release, Relaxed)
            .is_err()
        {
            // As in `complete`.
            warn_on!(true);
            return;
        }
        // SAFETY: The request is started and was not completed, see above. Its queue stays
        // valid while `queue_rq` runs.
        unsafe {
            let queue = (*rq.as_ptr()).q;
            bindings::blk_mq_requeue_request(rq.as_ptr(), false);
            // Each kick restarts the delay, also for the requests that wait already.
            if !rtrs::bindings::blk_requeue_pending(queue) {
                bindings::blk_mq_delay_kick_requeue_list(queue, REQUEUE_DELAY_MS);
            }
        }
    }

    /// Converts the request into a pointer, which stands for its ownership.
    pub(super) fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).rq.cast()
    }

    /// Converts the pointer back into the request.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`Request::into_raw`], once.
    pub(super) unsafe fn from_raw(ptr: NonNull<c_void>) -> Self {
        // INVARIANT: As for the request that `into_raw` consumed.
        Self { rq: ptr.cast() }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // INVARIANT: `self` is not used any more.
        Self { rq: self.rq }.complete(Err(EIO));
    }
}

/// Ends a completed request, by [`blk_mq_end_request`](srctree/block/blk-mq.c), on the CPU of
/// its submitter.
///
/// # Safety
///
/// `rq` must be a request that [`Request::complete`] was called for, passed by
/// blk-mq to its `complete` callback.
pub(super) unsafe fn end(rq: NonNull<bindings::request>) {
    // SAFETY: By the safety requirement.
    let pdu = unsafe { Pdu::of(rq) };
    let state = pdu.state.load(Acquire);
    pdu.state.store(IDLE, Relaxed);
    // The low byte is the status.
    let status = (state & 0xff) as bindings::blk_status_t;
    // SAFETY: By the safety requirement; the request is not used after this.
    unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status) };
}
