// SPDX-License-Identifier: GPL-2.0-only

//! Two faults of soft-RoCE (`rdma_rxe`), and how connections live with them.
//!
//! # Send queues that fall asleep
//!
//! The requester stops when a number of packets is under way, and misses that they were sent
//! if that happens before it has said that it waits (`need_req_skb` in `rxe_requester`). It
//! wakes up with the next post, for which both peers may be waiting. So each heartbeat looks
//! at the send queues: one with something outstanding and no progress since the last look is
//! given an RDMA write of no bytes, which the peer does not see ([`QpRef::nudge`]). Its
//! completion also returns deferred credits. A queue that completes nothing even so is
//! declared dead in the end.
//!
//! # Connections lost by a retransmission
//!
//! The requester cannot send a packet again while a registration is in the send queue: it
//! executes the registration once more, which fails, and the connection is lost without a
//! message (it ignores `wqe_state_done`). By default half a second without an acknowledgement
//! starts a retransmission, which a busy machine may well take. See [`ack_timeout`].
//!
//! # When soft-RoCE is mended
//!
//! Set [`NUDGE`] and [`LONG_ACK_TIMEOUT`] to false; then [`SqCredits::begin_nop`] and its
//! companions, and this file, can go.

use core::sync::atomic::Ordering::Relaxed;

use rnbd_proto::sq_credits::QueueProgress;
#[cfg(doc)]
use rnbd_proto::sq_credits::SqCredits;

use crate::{
    bindings,
    rdma::{
        qp::QpRef,
        wr::Remote, //
    }, //
};

/// Whether send queues without progress are given something to do.
const NUDGE: bool = true;

/// Whether soft-RoCE waits longer for acknowledgements than the fabric suggests.
const LONG_ACK_TIMEOUT: bool = true;

/// Result of [`QpRef::nudge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is outstanding, or work requests have completed since the last call.
    Fine,
    /// No work request has completed since the last call.
    Nudged,
    /// An outstanding work request will never complete, or none has for long. The connection
    /// must be closed.
    Broken,
}

/// Returns how long a device of this driver waits for an acknowledgement before it sends a
/// packet again, as the power of two of 4.096 µs, and how often it does so.
///
/// `None` stands for what the fabric suggests. Soft-RoCE waits 2 s, and gives up after as
/// much time as with the default.
pub(in crate::rdma) fn ack_timeout(driver: bindings::rdma_driver_id) -> Option<(u8, u8)> {
    let rxe = driver == bindings::rdma_driver_id_RDMA_DRIVER_RXE;
    (LONG_ACK_TIMEOUT && rxe).then_some((19, 2))
}

impl<C: Send + Sync + 'static> QpRef<'_, C> {
    /// Checks that the send queue makes progress, and wakes the device up if it does not.
    ///
    /// To be called every few seconds, which is much more than any send takes, and by one
    /// caller at a time.
    pub(crate) fn nudge(&self) -> Progress {
        if self.shared.broken.load(Relaxed) {
            return Progress::Broken;
        }
        if !NUDGE {
            return Progress::Fine;
        }
        let credits = &self.shared.posts.credits;
        let progress = credits.check_progress();
        match progress {
            QueueProgress::Moving => return Progress::Fine,
            QueueProgress::Dead => return Progress::Broken,
            QueueProgress::OnlyDeferred | QueueProgress::Stalled => {}
        }
        self.post_nop();
        match progress {
            QueueProgress::Stalled => Progress::Nudged,
            _ => Progress::Fine,
        }
    }

    /// Posts an RDMA write of no bytes behind everything that is outstanding.
    ///
    /// Without credits or without a connection it cannot be posted, and nothing is lost.
    fn post_nop(&self) {
        let nowhere = Remote { addr: 0, rkey: 0 };
        let credits = &self.shared.posts.credits;
        // One nop at a time returns the deferred credits.
        let returns_credits = credits.begin_nop();
        let cqe = match returns_credits {
            true => &self.shared.nop,
            false => &self.shared.chained,
        };
        match self.post_unowned(cqe, |chain| chain.rdma_write(&[], nowhere)) {
            Ok(()) => credits.nop_posted(),
            Err(_) if returns_credits => credits.nop_failed(),
            Err(_) => {}
        }
    }
}
