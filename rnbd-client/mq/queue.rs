// SPDX-License-Identifier: GPL-2.0-only

//! Hardware queues: which ones are polled, and which CPUs submit to which one.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use core::ptr::NonNull;

use kernel::bindings;

use rtrs::client::Queue;

/// Queues that complete by interrupt, for all requests that are not polled.
const DEFAULT: u32 = bindings::hctx_type_HCTX_TYPE_DEFAULT;
/// Queues that complete when they are polled.
const POLLED: u32 = bindings::hctx_type_HCTX_TYPE_POLL;

/// Returns the queue of the transport that serves `hctx`.
///
/// # Safety
///
/// `hctx` must be a hardware queue of a disk made by [`super::Disk`].
#[inline]
pub(super) unsafe fn of_hctx(hctx: NonNull<bindings::blk_mq_hw_ctx>) -> Queue {
    // SAFETY: Neither changes while the disk exists.
    let (kind, number) = unsafe { ((*hctx.as_ptr()).type_, (*hctx.as_ptr()).queue_num) };
    if u32::from(kind) != POLLED {
        return Queue::Cpu;
    }
    // SAFETY: The tag set of the queue is a `TagSet`, which the disk keeps.
    let set = unsafe { &*(*(*hctx.as_ptr()).queue).tag_set };
    let first = set.map.get(POLLED as usize);
    Queue::Polled(number.saturating_sub(first.map_or(0, |map| map.queue_offset)))
}

/// Returns the maps of a tag set with `queues` default queues and then `polled` polled ones,
/// and the number of maps in use. [`map_queues`] fills in the rest.
pub(super) fn maps(queues: u32, polled: u32) -> ([bindings::blk_mq_queue_map; 3], u32) {
    let map = |queue_offset| bindings::blk_mq_queue_map {
        queue_offset,
        ..pin_init::zeroed()
    };
    let nr_maps = if polled > 0 { POLLED + 1 } else { DEFAULT + 1 };
    ([map(0), map(0), map(queues)], nr_maps)
}

/// Spreads the queues of each kind over the CPUs.
///
/// # Safety
///
/// `set` must have the maps that [`maps`] returned, with memory that blk-mq allocated for them.
pub(super) unsafe fn map_queues(set: &mut bindings::blk_mq_tag_set) {
    let polled = match set.nr_maps {
        0..=POLLED => 0,
        _ => set
            .map
            .get(POLLED as usize)
            .map_or(0, |map| set.nr_hw_queues.saturating_sub(map.queue_offset)),
    };
    let default = set.nr_hw_queues.saturating_sub(polled);
    // In the order of `enum hctx_type`: default, read, poll.
    for (map, queues) in set.map.iter_mut().zip([default, 0, polled]) {
        map.nr_queues = queues;
        if queues > 0 {
            // SAFETY: As the caller promises.
            unsafe { bindings::blk_mq_map_queues(map) };
        }
    }
}
