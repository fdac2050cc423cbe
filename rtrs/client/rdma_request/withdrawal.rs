// SPDX-License-Identifier: GPL-2.0-only

//! Withdrawal of a request that the server does not respond to.
//!
//! ```text
//! withdraw   takes the request over, puts a stand-in in the place of its payload
//!            invalidates the region, if the data is registered         -> in flight
//! finished   unmaps, completes the payload with ETIMEDOUT
//!            READ: registers a sink for the data, under the same key   -> in flight
//! finished   awaits the response                                       -> in flight
//! finish     invalidates the sink, as for any request                  -> in flight
//!            releases the message id, completes the stand-in
//! ```
//!
//! The message id stays in use until the server has responded, as it may still execute the
//! request. If that is a READ it writes the data to the memory that it was told of, and the link
//! would end if there were none.

use kernel::prelude::*;

use rnbd_proto::op_state::AwaitedEvents;

use crate::rdma::{
    op::{
        HeldOp,
        Operation, //
    },
    payload::PayloadBox,
    qp::QpRef,
    wc::Wc, //
};

use super::{
    Direction,
    Phase,
    RdmaRequest,
    RequestConn, //
};

impl<C: RequestConn> RdmaRequest<C> {
    /// Returns the number of the connection that carries the request.
    pub(in crate::client) fn conn(&self) -> u16 {
        self.conn
    }

    /// Whether the request was withdrawn.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.stand_in)
    }

    /// Withdraws the request, which was taken over and was sent over `qp`; see
    /// [`Session::withdraw`](crate::client::Session::withdraw).
    pub(in crate::client) fn withdraw(
        mut this: HeldOp<Self>,
        qp: &QpRef<'_, C>,
        stand_in: PayloadBox,
    ) -> core::result::Result<(), PayloadBox> {
        let swapped = match &mut this.request {
            Some(request) if !request.control && !request.stand_in => {
                request.stand_in = true;
                core::mem::replace(&mut request.payload, stand_in)
            }
            _ => {
                Self::put_back(this, qp);
                return Err(stand_in);
            }
        };
        this.withdrawn = Some(swapped);
        if !this.needs_invalidation() {
            this.unmap();
            this.complete_withdrawn();
            Self::await_response(this, qp);
            return Ok(());
        }
        this.phase = Phase::Withdrawal;
        let posted = qp.post_send(this, AwaitedEvents::Send, |req, chain| {
            req.data.build_invalidation(chain)
        });
        let Err((mut this, _)) = posted else {
            return Ok(());
        };
        // The link is lost, or its queue is full.
        this.phase = Phase::Request;
        let payload = this.withdrawn.take();
        let stand_in = match (&mut this.request, payload) {
            (Some(request), Some(payload)) => {
                request.stand_in = false;
                core::mem::replace(&mut request.payload, payload)
            }
            // Cannot happen: both were there above.
            _ => return Ok(()),
        };
        Self::put_back(this, qp);
        Err(stand_in)
    }

    /// The region was invalidated, so nothing accesses the data any more, or the sink was
    /// registered.
    pub(super) fn withdrawal_finished(mut this: HeldOp<Self>, qp: &QpRef<'_, C>, wc: Option<&Wc>) {
        let phase = core::mem::replace(&mut this.phase, Phase::Request);
        if wc.is_none_or(|wc| !wc.is_ok()) {
            // The link is lost. The key may still be valid, so the data stays until the link
            // is shut down, which takes the request out.
            return;
        }
        if phase == Phase::Withdrawal {
            this.unmap();
            this.complete_withdrawn();
            let unregistered = match this.map_sink() {
                Ok(true) => {
                    this.phase = Phase::Sink;
                    match qp.post_send(this, AwaitedEvents::Send, |req, chain| {
                        req.data.build_sink(chain)
                    }) {
                        Ok(()) => return,
                        Err((back, _)) => back,
                    }
                }
                Ok(false) | Err(_) => this,
            };
            this = unregistered;
            this.phase = Phase::Request;
            this.unmap();
            // There is nothing left to invalidate.
            qp.release_reserved();
        }
        Self::await_response(this, qp);
    }

    /// Maps the sink in place of the data of a READ, and describes it by the region. Returns false
    /// for other requests.
    fn map_sink(&mut self) -> Result<bool> {
        let read = self.request.as_ref().map(|request| request.dir);
        if read != Some(Direction::Read) {
            return Ok(false);
        }
        self.data.map_sink()?;
        Ok(true)
    }

    /// Completes the payload that was withdrawn, if there is one. Its data must be unmapped.
    pub(super) fn complete_withdrawn(&mut self) {
        if let Some(payload) = self.withdrawn.take() {
            payload.done(Err(ETIMEDOUT));
        }
    }

    /// Awaits the response that the request is owed, or ends it if there was one.
    fn await_response(this: HeldOp<Self>, qp: &QpRef<'_, C>) {
        if let Err(this) = this.park() {
            this.record(0, false, &[]);
            <Self as Operation>::finish(this, Some(qp), None);
        }
    }

    /// Awaits the response to a request that was taken over in vain.
    fn put_back(this: HeldOp<Self>, qp: &QpRef<'_, C>) {
        if let Err(this) = this.park() {
            // The response was not recorded. Shutting down the link takes the request out.
            drop(this);
            qp.context()
                .fail_link("a response was missed while its request was being withdrawn");
        }
    }
}
