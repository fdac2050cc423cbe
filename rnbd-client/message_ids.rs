// SPDX-License-Identifier: GPL-2.0-only

//! The message ids of a session: one for each tag, and spare ones.
//!
//! A request that is withdrawn leaves its message id behind, as the server may still execute it.
//! Its tag gets a spare one, and the next request of the tag is sent at once.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        Arc,
        SpinLockIrq, //
    }, //
};

use rnbd_proto::tag_share::TagShare;

use crate::stall::Stall;

/// The message ids.
#[pin_data]
pub(crate) struct MessageIds {
    by_tag: KVec<AtomicU32>,
    /// Taken when a request is withdrawn, and when such a request has ended.
    #[pin]
    unused: SpinLockIrq<Unused>,
}

/// Both lists have capacity for all message ids.
struct Unused {
    spare: KVec<u32>,
    /// Ids of requests whose path was lost, and the disks of these requests.
    lost: KVec<(u32, Arc<Stall>)>,
}

impl MessageIds {
    /// Gives each tag a message id.
    pub(crate) fn new(share: TagShare) -> Result<Arc<Self>> {
        let ids = share.tags.checked_add(share.spares).ok_or(EINVAL)?;
        let mut by_tag = KVec::with_capacity(share.tags as usize, GFP_KERNEL)?;
        for tag in 0..share.tags {
            by_tag.push(AtomicU32::new(tag), GFP_KERNEL)?;
        }
        let mut spare = KVec::with_capacity(ids as usize, GFP_KERNEL)?;
        for id in share.tags..ids {
            spare.push(id, GFP_KERNEL)?;
        }
        let lost = KVec::with_capacity(ids as usize, GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                by_tag,
                unused <- new_spinlock_irq!(Unused { spare, lost }, "rnbd_message_ids"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the message id of a tag.
    #[inline]
    pub(crate) fn of(&self, tag: u32) -> u32 {
        self.by_tag
            .get(tag as usize)
            .map_or(u32::MAX, |id| id.load(Relaxed))
    }

    /// Gives a tag, whose request is in flight, a spare message id. Returns the one that it had,
    /// or `None` if no spare one is left.
    pub(crate) fn replace(&self, tag: u32) -> Option<u32> {
        let slot = self.by_tag.get(tag as usize)?;
        let spare = self.unused.lock().spare.pop()?;
        Some(slot.swap(spare, Relaxed))
    }

    /// Gives a tag the message id back that [`Self::replace`] returned.
    pub(crate) fn restore(&self, tag: u32, id: u32) {
        if let Some(slot) = self.by_tag.get(tag as usize) {
            self.free(slot.swap(id, Relaxed));
        }
    }

    /// Takes back a message id whose request has ended.
    pub(crate) fn free(&self, id: u32) {
        // Cannot fail: there is capacity for all.
        let _ = self.unused.lock().spare.push_within_capacity(id);
    }

    /// Takes back a message id whose request was lost together with its path.
    pub(crate) fn lose(&self, id: u32, stall: Arc<Stall>) {
        // As above.
        let _ = self.unused.lock().lost.push_within_capacity((id, stall));
    }

    /// All paths are up: the server has executed the requests of those that were lost, as it does
    /// not accept a path before.
    pub(crate) fn reclaim(&self) {
        loop {
            let Some((id, stall)) = self.unused.lock().lost.pop() else {
                return;
            };
            self.free(id);
            stall.end();
        }
    }
}
