// SPDX-License-Identifier: GPL-2.0-only

//! Tag sets: the requests that the disks of a session share.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::marker::PhantomData;

use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use super::{
    operations::Operations,
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
                _operations: PhantomData,
            }? Error),
            GFP_KERNEL,
        )
    }

    pub(super) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.raw.get()
    }

    /// Counts the started requests of `queue`, by
    /// [`blk_mq_tagset_busy_iter`](srctree/block/blk-mq-tag.c). `queue` is only compared.
    pub(super) fn count_started(&self, queue: *const bindings::request_queue) -> u32 {
        let mut count = StartedCount { queue, requests: 0 };
        // SAFETY: By the type invariant; `count` is valid, and used by this call only, until
        // it returns.
        unsafe {
            bindings::blk_mq_tagset_busy_iter(
                self.raw(),
                Some(StartedCount::add),
                (&raw mut count).cast(),
            );
        }
        count.requests
    }
}

/// Counts the requests of one queue.
struct StartedCount {
    queue: *const bindings::request_queue,
    requests: u32,
}

impl StartedCount {
    /// # Safety
    ///
    /// Only blk-mq calls it, with a request and the pointer that [`TagSet::count_started`] gave.
    unsafe extern "C" fn add(rq: *mut bindings::request, count: *mut c_void) -> bool {
        // SAFETY: blk-mq holds a reference to the request; the count is that of `count_started`.
        unsafe {
            let count = &mut *count.cast::<Self>();
            if core::ptr::eq((*rq).q, count.queue) {
                count.requests += 1;
            }
        }
        true
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; each disk holds a reference, so there
        // is no disk any more.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}
