// SPDX-License-Identifier: GPL-2.0-only

//! A connection: queue pair, completion queue and connection id.

use core::{
    ffi::c_void,
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering::{
            Acquire,
            Release, //
        }, //
    }, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::send_queue_size::SendQueueSize;

use crate::{
    bindings,
    kernel_ext::net::SockAddr, //
};

use super::{
    cm::CmId,
    cq::Cq,
    pd::Pd,
    qp::{
        QpConfig,
        QpRef,
        QpShared, //
    }, //
};

/// A connection with context `C`.
///
/// The drop disconnects, and destroys the parts in order. After that no completion is handled, and
/// operations that were still posted are [given back](super::op_set). It sleeps, and must happen
/// neither in a completion nor in a [`CmEvents`](super::cm::CmEvents) call of the connection
/// itself: `C` must not own its connection.
///
/// # Invariants
///
/// - `cm` has a queue pair, which is that of `shared`, and whose send and receive queues complete
///   on `cq`.
/// - `cq` and `shared` are there until `end_queues`.
pub(crate) struct Connection<C: Send + Sync + 'static> {
    cq: ManuallyDrop<Cq>,
    shared: ManuallyDrop<KBox<QpShared<C>>>,
    /// Whether a call of [`Connection::poll`] handles completions.
    polled: AtomicBool,
    cm: CmId,
    pd: Arc<Pd>,
}

/// The id of a connection whose queues are destroyed. The drop waits for messages of the connection
/// manager that are being sent, and for its handlers; as for the drop of a [`Connection`].
pub(crate) struct SpentId {
    _cm: CmId,
    _pd: Arc<Pd>,
}

/// Creates the queue pair of `cm`, which must be destroyed before `cq`. Returns the size of the
/// send queue.
fn create_qp(cm: &CmId, pd: &Pd, cq: &Cq, config: &QpConfig) -> Result<SendQueueSize> {
    let mut send = config.send;
    loop {
        let mut attr = bindings::ib_qp_init_attr {
            event_handler: Some(qp_event),
            qp_context: cm.as_ptr().cast(),
            send_cq: cq.as_ptr(),
            recv_cq: cq.as_ptr(),
            cap: bindings::ib_qp_cap {
                // One more each for draining.
                max_send_wr: send.wrs.saturating_add(1),
                max_recv_wr: config.recv.saturating_add(1),
                max_send_sge: send.sges,
                max_recv_sge: config.recv_sges,
                ..Default::default()
            },
            sq_sig_type: bindings::ib_sig_type_IB_SIGNAL_REQ_WR,
            qp_type: bindings::ib_qp_type_IB_QPT_RC,
            ..Default::default()
        };
        // SAFETY: Id, PD and CQ are alive until the queue pair is destroyed, which waits for
        // events.
        let ret = unsafe { bindings::rdma_create_qp(cm.as_ptr(), pd.as_ptr(), &raw mut attr) };
        let Err(e) = to_result(ret) else {
            return Ok(send);
        };
        // Drivers use either for a queue that is too large.
        let is_too_large = e == EINVAL || e == ENOMEM;
        send = send
            .smaller(config.least_send)
            .filter(|_| is_too_large)
            .ok_or(e)?;
    }
}

/// # Safety
///
/// Called by the RDMA core with an event of a queue pair that [`create_qp`] has made.
unsafe extern "C" fn qp_event(event: *mut bindings::ib_event, id: *mut c_void) {
    // SAFETY: Valid for this call.
    let event = unsafe { (*event).event };
    // The peer sends already, but the message that says that it is ready was lost. Without this
    // the connection manager would wait for it, and give up in the end. Completions tell of all
    // other events that matter.
    if event == bindings::ib_event_type_IB_EVENT_COMM_EST {
        // SAFETY: The id lives longer than its queue pair. An error means that the connection
        // manager knows.
        unsafe { bindings::rdma_notify(id.cast(), event) };
    }
}

impl<C: Send + Sync + 'static> Connection<C> {
    /// Creates the queues for `cm`; returns the id with the error when that fails.
    pub(super) fn new(
        cm: CmId,
        pd: &Arc<Pd>,
        context: Arc<C>,
        config: &QpConfig,
    ) -> core::result::Result<Self, (CmId, Error)> {
        // Other devices take the CPU addresses of inline immediates for DMA addresses.
        if config.inline_imm && !pd.attrs().immediates.is_inline() {
            return Err((cm, EINVAL));
        }
        // Now, as nothing can fail once there is a queue pair.
        let shared_box = match KBox::new_uninit(GFP_KERNEL) {
            Ok(shared_box) => shared_box,
            Err(_) => return Err((cm, ENOMEM)),
        };
        let cq = match Cq::new(pd, config) {
            Ok(cq) => cq,
            Err(e) => return Err((cm, e)),
        };
        let send = match create_qp(&cm, pd, &cq, config) {
            Ok(send) => send,
            Err(e) => return Err((cm, e)),
        };
        // SAFETY: Just created; `end_queues` closes the gate before it destroys it.
        let shared = unsafe {
            let qp = NonNull::new_unchecked((*cm.as_ptr()).qp);
            QpShared::new(qp, context, config, send)
        };
        // INVARIANT: Made above.
        Ok(Self {
            cq: ManuallyDrop::new(cq),
            shared: ManuallyDrop::new(KBox::write(shared_box, shared)),
            polled: AtomicBool::new(false),
            cm,
            pd: pd.clone(),
        })
    }

    /// Undoes a connection in the handler of its connection request: destroys everything but
    /// the id, which the connection manager destroys when the handler returns an error.
    pub(super) fn undo(self) -> Arc<super::cm::Context> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped: the queues are destroyed once, and each of the other
        // fields is moved out once.
        unsafe {
            this.end_queues();
            drop(core::ptr::read(&this.pd));
            core::ptr::read(&this.cm).leave_to_handler()
        }
    }

    /// Destroys queue pair and completion queue, after which what was still posted is
    /// [given back](super::op_set). Returns the rest, whose drop may take longer. As for the drop.
    pub(crate) fn destroy_queues(self) -> SpentId {
        let mut this = ManuallyDrop::new(self);
        this.disconnect();
        // SAFETY: `this` is not dropped: the queues are destroyed once, and each of the other
        // fields is moved out once.
        unsafe {
            this.end_queues();
            SpentId {
                _cm: core::ptr::read(&this.cm),
                _pd: core::ptr::read(&this.pd),
            }
        }
    }

    pub(super) fn cm(&self) -> &CmId {
        &self.cm
    }

    /// For posting.
    pub(crate) fn qp(&self) -> QpRef<'_, C> {
        QpRef::new(&self.shared)
    }

    /// Returns the protection domain.
    pub(crate) fn pd(&self) -> &Arc<Pd> {
        &self.pd
    }

    /// Returns the local address.
    pub(crate) fn src(&self) -> SockAddr {
        self.cm.src()
    }

    /// Returns the port number of the device, from 1.
    pub(crate) fn port(&self) -> u32 {
        self.cm.port()
    }

    /// Disconnects ([`rdma_disconnect`](srctree/include/rdma/rdma_cm.h)). Does not wait.
    pub(crate) fn disconnect(&self) {
        // SAFETY: The id is alive. An error means that it is not connected.
        unsafe { bindings::rdma_disconnect(self.cm.as_ptr()) };
    }

    /// Handles completions of a connection with
    /// [`PollContext::Caller`](super::qp::PollContext::Caller)
    /// ([`ib_process_cq_direct`](srctree/include/rdma/ib_verbs.h)); returns their number, at
    /// most 64. From any context but interrupts.
    ///
    /// Returns 0 while another call handles completions: they are handled one at a time and
    /// in order, as for every connection.
    pub(crate) fn poll(&self) -> u32 {
        if self.polled.swap(true, Acquire) {
            return 0;
        }
        // SAFETY: No other call does. `end_queues` has the connection for itself.
        let count = unsafe { self.cq.process() };
        self.polled.store(false, Release);
        count
    }

    /// Ends posting and destroys queue pair and completion queue. After that the device accesses
    /// no memory that was posted, and no completion is handled. What the drain has not ended is
    /// given back.
    ///
    /// # Safety
    ///
    /// To be called once; of the fields, only `cm` and `pd` may be used after that.
    unsafe fn end_queues(&mut self) {
        self.shared.posts.gate.close();
        // SAFETY: The queue pair is alive and uses the completion queue. Nothing is posted, and
        // `&mut self` proves that nothing polls.
        unsafe { self.cq.drain(self.shared.qp()) };
        // SAFETY: The id has a queue pair, which nothing posts on behind the gate. Completions do
        // not use it.
        unsafe { self.cm.destroy_qp() };
        if self.cq.is_used() {
            // Drivers do not fail here. If one does, its device may go on with what was posted.
            pr_err!(
                "RDMA device {} did not destroy a queue pair; its memory, and requests in flight, are lost\n",
                self.pd.device_name()
            );
            core::mem::forget(self.pd.clone());
            return;
        }
        // SAFETY: Dropped once, as the caller promises. First the completion queue, which ends the
        // handling of completions.
        unsafe {
            ManuallyDrop::drop(&mut self.cq);
            ManuallyDrop::drop(&mut self.shared);
        }
    }
}

impl<C: Send + Sync + 'static> Drop for Connection<C> {
    fn drop(&mut self) {
        self.disconnect();
        // SAFETY: Once, as this is the drop.
        unsafe { self.end_queues() };
    }
}
