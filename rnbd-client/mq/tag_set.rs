// SPDX-License-Identifier: GPL-2.0-only

//! Tag sets: the requests that several disks share.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::operations::Operations;
use super::operations::Tables;
use super::request::Pdu;
use core::marker::PhantomData;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

/// Queues that end requests by themselves, for all of them that do not want to poll.
const DEFAULT: u32 = bindings::hctx_type_HCTX_TYPE_DEFAULT;
/// Queues for those who poll.
pub(super) const POLLED: u32 = bindings::hctx_type_HCTX_TYPE_POLL;

/// Tags and requests for the disks of one session.
///
/// One set of tags serves all hardware queues of all disks, so that a tag says
/// which of the session's requests it is.
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
    /// Allocates `depth` requests and spreads them over `queues` hardware
    /// queues a disk, and `polled` more for those who poll.
    pub(crate) fn new(depth: u32, queues: u32, polled: u32) -> Result<Arc<Self>> {
        let cmd_size = u32::try_from(size_of::<Pdu>())?;
        let nr_hw_queues = queues.checked_add(polled).ok_or(EINVAL)?;
        let nr_maps = if polled > 0 { POLLED + 1 } else { DEFAULT + 1 };
        // The rest of the maps is made by `map_queues`.
        let map = |queue_offset| bindings::blk_mq_queue_map {
            queue_offset,
            ..pin_init::zeroed()
        };
        let maps = [map(0), map(0), map(queues)];
        Arc::pin_init(
            try_pin_init!(Self {
                // INVARIANT: Set up here.
                raw <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `slot` is valid for writes and pinned.
                    unsafe {
                        slot.write(bindings::blk_mq_tag_set {
                            ops: Tables::<T>::MQ,
                            map: maps,
                            nr_maps,
                            nr_hw_queues,
                            queue_depth: depth,
                            cmd_size,
                            numa_node: bindings::NUMA_NO_NODE,
                            flags: bindings::BLK_MQ_F_TAG_HCTX_SHARED
                                | bindings::BLK_MQ_F_NO_SCHED_BY_DEFAULT,
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

    /// Spreads the queues of each kind over the CPUs.
    ///
    /// # Safety
    ///
    /// `set` must be that of a [`TagSet`], for whose maps blk-mq made room.
    pub(super) unsafe fn map_queues(set: &mut bindings::blk_mq_tag_set) {
        let polled = match set.nr_maps {
            0..=POLLED => 0,
            _ => set
                .map
                .get(POLLED as usize)
                .map_or(0, |map| set.nr_hw_queues.saturating_sub(map.queue_offset)),
        };
        let default = set.nr_hw_queues.saturating_sub(polled);
        // In the order of the kinds: default, for reads, polled.
        for (map, queues) in set.map.iter_mut().zip([default, 0, polled]) {
            map.nr_queues = queues;
            if queues > 0 {
                // SAFETY: As the caller promises.
                unsafe { bindings::blk_mq_map_queues(map) };
            }
        }
    }

    pub(super) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.raw.get()
    }

    /// Number of requests of `queue` that the driver has, at this moment. `queue` is only
    /// compared.
    pub(super) fn started(&self, queue: *const bindings::request_queue) -> u32 {
        let mut count = Count { queue, requests: 0 };
        // SAFETY: By the type invariant; `count` is there, and used by nobody else, until
        // this returns.
        unsafe {
            bindings::blk_mq_tagset_busy_iter(
                self.raw(),
                Some(Count::add),
                (&raw mut count).cast(),
            );
        }
        count.requests
    }
}

/// Counts the requests of one queue.
struct Count {
    queue: *const bindings::request_queue,
    requests: u32,
}

impl Count {
    /// # Safety
    ///
    /// Only blk-mq calls it, with a request and the pointer that [`TagSet::started`] gave.
    unsafe extern "C" fn add(rq: *mut bindings::request, count: *mut c_void) -> bool {
        // SAFETY: blk-mq holds a reference to the request; the count is as promised.
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
        // SAFETY: By the type invariant; each disk holds a reference, so none
        // is left.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}
