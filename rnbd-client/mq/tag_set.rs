// SPDX-License-Identifier: GPL-2.0-only

//! Tag sets: the requests that the disks of a session share.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    types::Opaque, //
};

use super::{
    operations::Operations,
    placeholder::Placeholder,
    queue,
    request::Pdu,
    vtable::VTables, //
};

/// Flags of a tag set.
///
/// With `STACKING` blk-mq does not wait for the requests of a CPU that goes offline. That is for
/// devices whose interrupts are shut down together with the CPU. Those of RDMA devices move to
/// another CPU, and a request that waits for a path could take for ever.
const FLAGS: u32 = bindings::BLK_MQ_F_TAG_HCTX_SHARED
    | bindings::BLK_MQ_F_NO_SCHED_BY_DEFAULT
    | bindings::BLK_MQ_F_STACKING;

/// The tags and requests of the disks of one session.
///
/// One set of tags serves all hardware queues of all disks, so that a tag identifies a
/// request within the session.
///
/// # Invariants
///
/// `raw` was set up by `blk_mq_alloc_tag_set`.
#[pin_data(PinnedDrop)]
pub(crate) struct TagSet<T: Operations> {
    #[pin]
    raw: Opaque<bindings::blk_mq_tag_set>,
    /// Set when the tag set is created, destroyed before `raw`.
    placeholder: Option<Placeholder>,
    /// The number of disks.
    disks: Atomic<u32>,
    _operations: PhantomData<fn(T)>,
}

// SAFETY: The block layer synchronises all use of a tag set.
unsafe impl<T: Operations> Send for TagSet<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Allocates `depth` requests, by [`blk_mq_alloc_tag_set`](srctree/block/blk-mq.c), for
    /// disks with `queues` hardware queues each and `polled` more that are polled.
    pub(crate) fn new(depth: u32, queues: u32, polled: u32) -> Result<Arc<Self>> {
        let cmd_size = u32::try_from(size_of::<Pdu>())?;
        let nr_hw_queues = queues.checked_add(polled).ok_or(EINVAL)?;
        let (map, nr_maps) = queue::maps(queues, polled);
        Arc::pin_init(
            try_pin_init!(Self {
                // INVARIANT: Set up here.
                raw <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `slot` is valid for writes and pinned.
                    unsafe {
                        slot.write(bindings::blk_mq_tag_set {
                            ops: VTables::<T>::MQ,
                            map,
                            nr_maps,
                            nr_hw_queues,
                            queue_depth: depth,
                            cmd_size,
                            numa_node: bindings::NUMA_NO_NODE,
                            flags: FLAGS,
                            ..pin_init::zeroed()
                        });
                        to_result(bindings::blk_mq_alloc_tag_set(slot))
                    }
                }),
                // SAFETY: Set up above; dropping the tag set drops this first.
                placeholder: Some(unsafe { Placeholder::new(raw.get()) }?),
                disks: Atomic::new(0),
                _operations: PhantomData,
            }? Error),
            GFP_KERNEL,
        )
    }

    pub(super) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.raw.get()
    }

    /// Counts a disk, whose queue was added to the set.
    pub(super) fn disk_added(&self) {
        self.disks.fetch_add(1, Relaxed);
        if let Some(placeholder) = &self.placeholder {
            placeholder.activate();
        }
    }

    /// A disk is about to be removed.
    pub(super) fn disk_removed(&self) {
        self.disks.fetch_sub(1, Relaxed);
    }

    /// Returns the number of disks that share the tags of `set`.
    ///
    /// # Safety
    ///
    /// `set` must be that of a live `TagSet<T>`.
    pub(super) unsafe fn disks_of(set: *mut bindings::blk_mq_tag_set) -> u32 {
        // SAFETY: By the safety requirement.
        let this = unsafe { &*container_of!(Opaque::cast_from(set), Self, raw) };
        this.disks.load(Relaxed)
    }

    /// Calls `f` with the tag of each started request of `queue`, by
    /// [`blk_mq_tagset_busy_iter`](srctree/block/blk-mq-tag.c). `queue` is only compared. The tag
    /// is not given to another request during the call, which must not sleep.
    pub(super) fn for_each_started<F: FnMut(u32)>(
        &self,
        queue: *const bindings::request_queue,
        f: F,
    ) {
        let mut started = Started { queue, f };
        // SAFETY: By the type invariant; `started` is valid, and used by this call only, until
        // it returns.
        unsafe {
            bindings::blk_mq_tagset_busy_iter(
                self.raw(),
                Some(Started::<F>::call),
                (&raw mut started).cast(),
            );
        }
    }
}

/// A function for the started requests of one queue.
struct Started<F> {
    queue: *const bindings::request_queue,
    f: F,
}

impl<F: FnMut(u32)> Started<F> {
    /// # Safety
    ///
    /// Only blk-mq calls it, with a request and the pointer that [`TagSet::for_each_started`]
    /// gave.
    unsafe extern "C" fn call(rq: *mut bindings::request, started: *mut c_void) -> bool {
        // SAFETY: blk-mq holds a reference to the request, which keeps its tag; the pointer is
        // that of `for_each_started`.
        unsafe {
            let started = &mut *started.cast::<Self>();
            if core::ptr::eq((*rq).q, started.queue) {
                // A started request has a driver tag, which is not negative.
                (started.f)((*rq).tag.unsigned_abs());
            }
        }
        true
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        *this.placeholder = None;
        // SAFETY: By the type invariant; each disk holds a reference, so there
        // is no disk any more.
        unsafe { bindings::blk_mq_free_tag_set(this.raw.get()) };
    }
}
