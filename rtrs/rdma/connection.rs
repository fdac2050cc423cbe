// SPDX-License-Identifier: GPL-2.0-only

//! A connection: queue pair, completion queue and connection id.

use core::{
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
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::device_caps::cq_entries;

use crate::{
    bindings,
    kernel_ext::{
        log::Plain,
        net::SockAddr, //
    },
    pr_err_ratelimited, //
};

use super::{
    cm::CmId,
    device::caller,
    pd::Pd,
    qp::{
        PollContext,
        QpConfig,
        QpRef,
        QpShared, //
    }, //
};

/// Most completions that one call of [`Connection::poll`] handles.
pub(super) const POLL_BUDGET: c_int = 64;

/// An owned completion queue.
struct Cq(NonNull<bindings::ib_cq>);

// SAFETY: Completion queues have no thread affinity.
unsafe impl Send for Cq {}
// SAFETY: Shared references only read the pointer.
unsafe impl Sync for Cq {}

impl Cq {
    fn new(pd: &Pd, config: &QpConfig) -> Result<Self> {
        let attrs = pd.attrs();
        attrs.check_cq(config.send, config.recv).map_err(|lack| {
            pr_err_ratelimited!("RDMA device {} {}\n", pd.device_name(), Plain(lack));
            EOPNOTSUPP
        })?;
        let entries = cq_entries(config.send, config.recv);
        let poll = match config.poll {
            // With PREEMPT_RT, softirqs of one CPU preempt each other, and irq_poll, by which
            // the kernel implements this context, then polls one queue twice at once
            // (`irq_poll_softirq` in lib/irq_poll.c of 7.3): its list breaks.
            PollContext::Softirq if cfg!(CONFIG_PREEMPT_RT) => {
                bindings::ib_poll_context_IB_POLL_WORKQUEUE
            }
            PollContext::Softirq => bindings::ib_poll_context_IB_POLL_SOFTIRQ,
            PollContext::Worker => bindings::ib_poll_context_IB_POLL_WORKQUEUE,
            PollContext::Caller => bindings::ib_poll_context_IB_POLL_DIRECT,
        };
        let vector = config.vector.checked_rem(attrs.num_comp_vectors);
        // SAFETY: The device is alive as the PD is.
        let cq = from_err_ptr(unsafe {
            bindings::__ib_alloc_cq(
                pd.device(),
                core::ptr::null_mut(),
                i32::try_from(entries)?,
                i32::try_from(vector.unwrap_or(0))?,
                poll,
                caller().as_char_ptr(),
            )
        })?;
        Ok(Self(NonNull::new(cq).ok_or(ENOMEM)?))
    }
}

impl Drop for Cq {
    fn drop(&mut self) {
        // SAFETY: Owned; the queue pair that used it is destroyed.
        unsafe { bindings::ib_free_cq(self.0.as_ptr()) };
    }
}

/// A connection with context `C`.
///
/// The drop disconnects, waits until every posted work request has completed, and destroys
/// the parts in order. It sleeps, and must happen neither in a completion nor in a
/// [`CmEvents`](super::cm::CmEvents) call of the connection itself: `C` must not own its
/// connection.
///
/// # Invariants
///
/// `cm` has a queue pair whose context is the pointer of `shared`, and whose send and receive
/// queues complete on `cq`.
pub(crate) struct Connection<C: Send + Sync + 'static> {
    // In the order of destruction, after `drop` destroyed the queue pair.
    cq: Cq,
    /// Whether a call of [`Connection::poll`] handles completions.
    polled: AtomicBool,
    /// Whether everything posted has completed, and nothing can be posted.
    drained: AtomicBool,
    cm: CmId,
    shared: KBox<QpShared<C>>,
    pd: Arc<Pd>,
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
        if config.inline_imm && pd.attrs().immediates {
            return Err((cm, EINVAL));
        }
        let shared = match KBox::new(QpShared::new(context, config), GFP_KERNEL) {
            Ok(shared) => shared,
            Err(_) => return Err((cm, ENOMEM)),
        };
        let cq = match Cq::new(pd, config) {
            Ok(cq) => cq,
            Err(e) => return Err((cm, e)),
        };
        let mut attr = bindings::ib_qp_init_attr {
            qp_context: core::ptr::from_ref(&*shared).cast_mut().cast(),
            send_cq: cq.0.as_ptr(),
            recv_cq: cq.0.as_ptr(),
            cap: bindings::ib_qp_cap {
                // One more each for draining.
                max_send_wr: config.send.saturating_add(1),
                max_recv_wr: config.recv.saturating_add(1),
                max_send_sge: config.send_sge,
                max_recv_sge: 1,
                ..Default::default()
            },
            sq_sig_type: bindings::ib_sig_type_IB_SIGNAL_REQ_WR,
            qp_type: bindings::ib_qp_type_IB_QPT_RC,
            ..Default::default()
        };
        // SAFETY: Id, PD and CQ are alive; the context lives as long as the
        // queue pair, which `drop` destroys first.
        let ret = unsafe { bindings::rdma_create_qp(cm.as_ptr(), pd.as_ptr(), &raw mut attr) };
        if let Err(e) = to_result(ret) {
            return Err((cm, e));
        }
        // INVARIANT: Made above.
        Ok(Self {
            cq,
            polled: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            cm,
            shared,
            pd: pd.clone(),
        })
    }

    /// Undoes a connection in the handler of its connection request: destroys everything but
    /// the id, which the connection manager destroys when the handler returns an error.
    pub(super) fn undo(self) -> Arc<super::cm::Context> {
        let this = core::mem::ManuallyDrop::new(self);
        this.drain();
        // SAFETY: Drained, and nothing else refers to the queue pair.
        unsafe { this.cm.destroy_qp() };
        // SAFETY: `this` is not dropped: each field is moved out once.
        unsafe {
            drop(core::ptr::read(&this.cq));
            drop(core::ptr::read(&this.shared));
            drop(core::ptr::read(&this.pd));
            core::ptr::read(&this.cm).leave_to_handler()
        }
    }

    fn raw_qp(&self) -> *mut bindings::ib_qp {
        // SAFETY: The id is alive and has a queue pair by the type invariant.
        unsafe { (*self.cm.as_ptr()).qp }
    }

    pub(super) fn cm(&self) -> &CmId {
        &self.cm
    }

    /// For posting.
    pub(crate) fn qp(&self) -> QpRef<'_, C> {
        // SAFETY: The queue pair lives as long as `self` and has this context.
        unsafe { QpShared::<C>::of(self.raw_qp()) }
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

    /// Handles completions of a connection with [`PollContext::Caller`]
    /// ([`ib_process_cq_direct`](srctree/include/rdma/ib_verbs.h)); returns their number, at
    /// most [`POLL_BUDGET`]. From any context but interrupts; not while the connection is
    /// drained.
    ///
    /// Returns 0 while another call handles completions: they are handled one at a time and
    /// in order, as for every connection.
    pub(crate) fn poll(&self) -> u32 {
        if self.polled.swap(true, Acquire) {
            return 0;
        }
        // SAFETY: The CQ is alive; nothing else handles its completions now.
        let count = unsafe { bindings::ib_process_cq_direct(self.cq.0.as_ptr(), POLL_BUDGET) };
        self.polled.store(false, Release);
        count.max(0).unsigned_abs()
    }

    /// Ends posting and waits until every posted work request has completed
    /// ([`ib_drain_qp`](srctree/include/rdma/ib_verbs.h)). No completion runs after this.
    pub(crate) fn drain(&self) {
        // Draining again would take long where completions are only polled.
        if self.drained.load(Acquire) {
            return;
        }
        self.shared.gate.close();
        // SAFETY: The queue pair is alive. Its queues have an entry for the
        // work requests that this posts, see `new`.
        unsafe { bindings::ib_drain_qp(self.raw_qp()) };
        self.drained.store(true, Release);
    }
}

impl<C: Send + Sync + 'static> Drop for Connection<C> {
    fn drop(&mut self) {
        self.disconnect();
        self.drain();
        // SAFETY: Drained; `&mut self` proves that there are no references.
        unsafe { self.cm.destroy_qp() };
    }
}
