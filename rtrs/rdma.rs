// SPDX-License-Identifier: GPL-2.0-only

//! Safe verbs and connection management over reliable connections.
//!
//! Memory named by a posted work request is owned by that request until the hardware has
//! completed it. Posting consumes an [`op::HeldOp`], the completion returns it, and in
//! between no safe function can free the memory or get mutable access to it. What types do not
//! show, such as the end of a send without a completion, is a rule for the code above; see
//! `Documentation/architecture-rdma.md`. Queue pairs [keep](op_set) all operations that are posted
//! on them until they are destroyed, which gives back what was not completed.
//!
//! Ownership chain: a [`connection::Connection`] owns its queue pair, completion queue and
//! connection id. Memory regions and mapped buffers own a reference to their [`pd::Pd`], and
//! that owns a reference to the `ib_device`, which cannot be unregistered before it is
//! dropped.
//!
//! C headers: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h),
//! [`include/rdma/rdma_cm.h`](srctree/include/rdma/rdma_cm.h)

pub(crate) mod cm;
pub(crate) mod connection;
pub(crate) mod connector;
mod cq;
pub(crate) mod device;
pub(crate) mod dma;
pub(crate) mod dma_pages;
pub(crate) mod listener;
pub(crate) mod mr;
pub(crate) mod op;
pub(crate) mod op_set;
pub(crate) mod payload;
pub(crate) mod pd;
pub(crate) mod qp;
mod quirks;
pub(crate) mod sg;
pub(crate) mod sge;
pub(crate) mod wc;
pub(crate) mod wr;

pub(crate) use quirks::{
    link_down::Notifier as LinkDownNotifier,
    rxe::Progress, //
};
