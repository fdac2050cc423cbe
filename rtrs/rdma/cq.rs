// SPDX-License-Identifier: GPL-2.0-only

//! Completion queues (`struct ib_cq`).

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use rnbd_proto::device_caps::cq_entries;

use crate::{
    bindings,
    kernel_ext::{
        log::Plain,
        rcu, //
    },
    pr_err_ratelimited, //
};

use super::{
    device::caller,
    pd::Pd,
    qp::{
        PollContext,
        QpConfig, //
    }, //
};

/// Most completions that one call of [`Cq::process`] handles.
const POLL_BUDGET: c_int = 64;

/// An owned completion queue.
pub(super) struct Cq {
    cq: NonNull<bindings::ib_cq>,
    poll: PollContext,
}

// SAFETY: Completion queues have no thread affinity.
unsafe impl Send for Cq {}
// SAFETY: Shared references only read the pointer.
unsafe impl Sync for Cq {}

impl Cq {
    /// Allocates one of the size that `config` needs (`ib_alloc_cq`).
    pub(super) fn new(pd: &Pd, config: &QpConfig) -> Result<Self> {
        let attrs = pd.attrs();
        attrs.check_cq(config.send.wrs, config.recv).map_err(|lack| {
            pr_err_ratelimited!(pd.device_name() => "RDMA device {} {}\n", pd.device_name(), Plain(lack));
            EOPNOTSUPP
        })?;
        let entries = cq_entries(config.send.wrs, config.recv);
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
        Ok(Self {
            cq: NonNull::new(cq).ok_or(ENOMEM)?,
            poll: config.poll,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::ib_cq {
        self.cq.as_ptr()
    }

    /// Whether a queue pair uses it.
    pub(super) fn is_used(&self) -> bool {
        // SAFETY: Owned and alive; the count is atomic.
        unsafe { (&raw const (*self.cq.as_ptr()).usecnt.counter).read_volatile() != 0 }
    }

    /// Handles completions in the context of the caller, at most [`POLL_BUDGET`]; returns their
    /// number. Of a queue with another [`PollContext`], which the kernel polls, none.
    ///
    /// # Safety
    ///
    /// No other context handles completions at the same time.
    pub(super) unsafe fn process(&self) -> u32 {
        if self.poll != PollContext::Caller {
            return 0;
        }
        // SAFETY: Alive; the rest as the caller promises.
        let count = unsafe { bindings::ib_process_cq_direct(self.cq.as_ptr(), POLL_BUDGET) };
        count.max(0).unsigned_abs()
    }

    /// Has the device end what is posted on `qp`, and handles the completions of that
    /// ([`ib_drain_qp`](srctree/include/rdma/ib_verbs.h)). Best effort: the device may refuse it.
    ///
    /// # Safety
    ///
    /// `qp` is alive, uses this completion queue, and has room for one more work request in each
    /// of its queues. No other context posts, or polls.
    pub(super) unsafe fn drain(&self, qp: NonNull<bindings::ib_qp>) {
        if self.poll != PollContext::Caller {
            // SAFETY: As the caller promises.
            return unsafe { bindings::ib_drain_qp(qp.as_ptr()) };
        }
        // For these, `ib_drain_qp` looks for completions after 0.1 s only, once for each of the
        // two queues, and a path may have many. What is not completed yet is given back when the
        // queue pair is destroyed.
        let mut attr = bindings::ib_qp_attr {
            qp_state: bindings::ib_qp_state_IB_QPS_ERR,
            ..Default::default()
        };
        let mask = bindings::ib_qp_attr_mask_IB_QP_STATE as c_int;
        // SAFETY: As the caller promises. As nothing is posted, completions come to an end.
        unsafe {
            bindings::ib_modify_qp(qp.as_ptr(), &raw mut attr, mask);
            while self.process() > 0 {}
        }
    }
}

impl Drop for Cq {
    fn drop(&mut self) {
        let cq = self.cq.as_ptr();
        // In a softirq, `ib_poll_handler` (drivers/infiniband/core/cq.c of 7.3) says that it is
        // done, and only then asks for the next event. `ib_free_cq` waits for the former alone, and
        // would free what is still in use.
        //
        // SAFETY: Alive; in this context, and only in it, `iop` is the part of the union in use.
        // Nobody else disables it.
        unsafe {
            if (*cq).poll_ctx == bindings::ib_poll_context_IB_POLL_SOFTIRQ {
                let iop = (&raw mut (*cq).__bindgen_anon_1).cast::<bindings::irq_poll>();
                bindings::irq_poll_disable(iop);
                // Polls that have said so are over, and have scheduled none.
                rcu::wait_for_softirqs();
                bindings::irq_poll_enable(iop);
            }
        }
        // SAFETY: Owned; the queue pair that used it is destroyed, so nothing schedules a poll.
        unsafe { bindings::ib_free_cq(cq) };
    }
}
