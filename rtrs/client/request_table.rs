// SPDX-License-Identifier: GPL-2.0-only

//! The requests of a link by message id, and the remote buffers that they are written to.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    kernel_ext::set_once::SetOnce,
    rdma::{
        op::{
            HeldOp,
            Op, //
        },
        op_set::OpSet,
        pd::Pd,
        qp::QpRef, //
    }, //
};

use super::{
    io_request::{
        IoRequest,
        Permit,
        SubmitResult, //
    },
    negotiated::Negotiated,
    rdma_request::{
        RdmaRequest,
        RequestConn, //
    },
    remote_buf::RemoteBuf,
    stats::Stats, //
};

/// The table. Link and connections for I/O share it.
pub(super) struct RequestTable<C: RequestConn> {
    negotiated: Negotiated,
    requests: Arc<OpSet<RdmaRequest<C>>>,
    /// Set when INFO_RSP arrives.
    remote_bufs: SetOnce<KVVec<RemoteBuf>>,
}

impl<C: RequestConn> RequestTable<C> {
    /// Makes requests whose data touch up to `units` registration units.
    pub(super) fn new(
        pd: &Arc<Pd>,
        negotiated: Negotiated,
        units: u32,
        stats: &Arc<Stats>,
    ) -> Result<Arc<Self>> {
        let depth = negotiated.depth;
        let mut requests = KVec::with_capacity(usize::from(depth.get()), GFP_KERNEL)?;
        for id in depth.buffers() {
            let request = RdmaRequest::new(pd, id, units, stats.clone())?;
            requests.push(request, GFP_KERNEL)?;
        }
        Ok(Arc::new(
            Self {
                negotiated,
                requests: OpSet::new(requests)?,
                remote_bufs: SetOnce::new(),
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns what the two sides agreed on.
    pub(super) fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Returns the requests, for a queue pair to keep.
    pub(super) fn requests(&self) -> &Arc<OpSet<RdmaRequest<C>>> {
        &self.requests
    }

    /// Sets the remote buffers, one for each request.
    pub(super) fn set_remote_bufs(&self, remote_bufs: KVVec<RemoteBuf>) {
        self.remote_bufs.populate(remote_bufs);
    }

    /// Whether the remote buffers are known.
    pub(super) fn is_ready(&self) -> bool {
        self.remote_bufs.as_ref().is_some()
    }

    /// Returns a request and its remote buffer.
    pub(super) fn get(&self, index: usize) -> Option<(&Arc<Op<RdmaRequest<C>>>, &RemoteBuf)> {
        let remote_buf = self.remote_bufs.as_ref()?.get(index)?;
        Some((self.requests.get(index)?, remote_buf))
    }

    /// Sends a request by `qp`; see [`Link::submit`](super::link::Link::submit).
    pub(super) fn submit(&self, qp: &QpRef<'_, C>, request: IoRequest) -> SubmitResult {
        let Some((rdma_request, remote_buf)) = self.get(request.permit.index()) else {
            return Err((request, EINVAL));
        };
        let Some(held) = rdma_request.begin() else {
            return Err((request, EBUSY));
        };
        RdmaRequest::submit(held, qp, &self.negotiated, remote_buf, request)
    }

    /// Counts one more timeout of the request in flight; see
    /// [`Session::count_timeout`](super::Session::count_timeout).
    pub(super) fn count_timeout(&self, permit: Permit) -> Option<u32> {
        self.requests.get(permit.index())?.count_timeout()
    }

    /// Takes over a request that awaits nothing but its response.
    pub(super) fn take_over(&self, permit: Permit) -> Option<HeldOp<RdmaRequest<C>>> {
        self.requests.get(permit.index())?.take_over()
    }

    /// Passes all requests without a response to `f`, once all connections are gone.
    ///
    /// # Errors
    ///
    /// `EBUSY` while there is a connection.
    pub(super) fn end(&self, mut f: impl FnMut(IoRequest)) -> Result {
        self.requests.end(|held| {
            if let Some(request) = RdmaRequest::take_unanswered(held) {
                f(request);
            }
        })
    }
}
