// SPDX-License-Identifier: GPL-2.0-only

//! Safe verbs and connection management over reliable connections.
//!
//! The rule that everything here serves: memory named by a posted work request
//! is owned by that request until the hardware has given it back. Posting
//! moves an [`op::Idle`] operation in, the completion hands it out again, and
//! no safe function can reach the memory mutably, or free it, in between.
//! Where no completion is asked for, the queue pair [keeps](kept) the memory.
//!
//! Ownership chain: [`connection::Connection`] → queue pair, completion queue,
//! connection id; memory regions and mapped buffers → [`pd::Pd`] → a reference
//! to the `ib_device`, which cannot be unregistered before it is dropped.
//!
//! C headers: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h),
//! [`include/rdma/rdma_cm.h`](srctree/include/rdma/rdma_cm.h)

pub mod cm;
pub mod connection;
pub mod connector;
pub mod dma;
pub mod listener;
pub mod mr;
pub mod op;
pub mod op_set;
pub mod payload;
pub mod pd;
pub mod qp;
pub mod sg;
pub mod wc;
pub mod wr;
