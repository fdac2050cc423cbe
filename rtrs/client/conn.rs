// SPDX-License-Identifier: GPL-2.0-only

//! Connections of a link: the context of their queue pairs, and what their events mean.

use super::link::Shared;
use crate::rdma::cm::CmEvent;
use crate::rdma::cm::CmEvents;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Tells a key that was noted from none.
const HAS_KEY: u64 = 1 << 32;

/// The context of one connection.
pub(super) struct Conn {
    pub(super) shared: Arc<Shared>,
    /// Number of the connection; 0 is for control.
    pub(super) id: u16,
    /// Whether somebody polls for its completions.
    pub(super) polled: bool,
    /// The key that the server invalidated since its last answer: [`HAS_KEY`] and the
    /// key, or 0. Only one completion of a connection is handled at a time.
    invalidated: AtomicU64,
}

impl Conn {
    pub(super) fn new(shared: &Arc<Shared>, id: u16, polled: bool) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                shared: shared.clone(),
                id,
                polled,
                invalidated: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// The server invalidated `rkey`.
    pub(super) fn note_invalidated(&self, rkey: u32) {
        self.invalidated.store(HAS_KEY | u64::from(rkey), Relaxed);
    }

    /// The key that the server invalidated with the answer that is being handled.
    ///
    /// It does both in one chain, so on one connection the claim to have done so
    /// directly follows the deed. It is good for one answer: keys come round again.
    pub(super) fn take_invalidated(&self) -> Option<u32> {
        let noted = self.invalidated.load(Relaxed);
        if noted == 0 {
            return None;
        }
        self.invalidated.store(0, Relaxed);
        // CAST: The key is in the lower half.
        Some(noted as u32)
    }
}

impl CmEvents for Conn {
    fn event(&self, event: CmEvent) {
        match event {
            CmEvent::Established => {}
            CmEvent::Disconnected => self.shared.fail("the server disconnected"),
            CmEvent::AddrChange => self.shared.fail("the local address moved"),
            CmEvent::DeviceRemoval => self.shared.fail("the RDMA device was removed"),
        }
    }
}
