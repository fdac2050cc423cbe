// SPDX-License-Identifier: GPL-2.0-only

//! Submission of requests: to the path that the policy chooses, or to the requeue list while
//! there is none.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::failover_limit::may_resend;

use crate::{
    client::{
        io_request::{
            Direction,
            IoRequest,
            Permit,
            Queue,
            SubmitResult, //
        },
        requeue_list::{
            RequeueError,
            StateSnapshot, //
        }, //
    },
    impl_has_owned_work,
    kernel_ext::work::{
        self,
        OwnedWorkItem, //
    },
    pr_err_ratelimited,
    rdma::payload::PayloadBox, //
};

use super::{
    Session,
    REQUEUE, //
};

/// Delay before a request is sent again that a device had no room for, or that its payload
/// holds back.
const RETRY_DELAY: Delta = Delta::from_millis(10);

/// Whether a request that failed so may be sent again after a while.
fn is_temporary(err: Error) -> bool {
    [ENOMEM, ENOSPC, EAGAIN].contains(&err)
}

impl Session {
    /// Sends a request with `len` bytes of data and the message of `payload`, by the
    /// connections for `queue`. Does not sleep. `payload` is completed later, or given back
    /// on an error right away. While no path is up but one will be, the request waits.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` without a path, `EBUSY` when the permit is in use, `EINVAL` or
    /// `EMSGSIZE` for sizes that do not fit, or the error of the message.
    /// `ENOMEM` or `ENOSPC` when the device has no room at the moment, and `EAGAIN` of the
    /// message: the same request may be sent after a while ([`PayloadBox::later`]).
    pub fn submit(
        &self,
        dir: Direction,
        permit: Permit,
        queue: Queue,
        len: u32,
        payload: PayloadBox,
    ) -> core::result::Result<(), (PayloadBox, Error)> {
        if len > self.max_io_size() {
            return Err((payload, EMSGSIZE));
        }
        if matches!(queue, Queue::Polled(number) if number >= self.nr_poll_queues()) {
            return Err((payload, EINVAL));
        }
        let request = IoRequest {
            dir,
            permit,
            queue,
            len,
            control: false,
            stand_in: false,
            lost_paths: 0,
            compared: false,
            payload,
        };
        self.send_or_queue(request)
            .map_err(|failed| self.give_back(failed))
    }

    /// Gives the payload of a request back that was not sent.
    #[cold]
    fn give_back(&self, (request, e): (IoRequest, Error)) -> (PayloadBox, Error) {
        if !is_temporary(e) {
            request.trace_error(&self.name(), e);
        }
        (request.payload, e)
    }

    /// Handles completions of polled queue `number`; returns how many. Does not sleep.
    pub fn poll(&self, number: u32) -> u32 {
        self.paths.poll(number)
    }

    /// Counts one more timeout of the request of `permit`. Returns for how many periods it
    /// has been in flight on its present path: 0 if it is not in flight, as it has just been
    /// completed or waits for a path. Does not sleep.
    pub fn count_timeout(&self, permit: Permit) -> u32 {
        self.paths.count_timeout(permit)
    }

    /// Withdraws the request of `permit`, for which there is no response: it completes with
    /// `ETIMEDOUT`, here or later, once no adapter accesses its data. `stand_in` takes its place,
    /// and completes with the response or, with an error, with the path. The permit must not be
    /// used before. Does not sleep.
    ///
    /// # Errors
    ///
    /// Returns `stand_in` if the request is not in flight, or cannot be withdrawn at the moment.
    pub fn withdraw(
        &self,
        permit: Permit,
        stand_in: PayloadBox,
    ) -> core::result::Result<(), PayloadBox> {
        self.paths.withdraw(permit, stand_in)
    }

    /// Fails the links of all paths because of `why`; the paths are connected again. Requests
    /// in flight go over them after that, or fail as for any session without a path. Does not
    /// sleep.
    pub fn reset(&self, why: &str) {
        self.paths.fail_links(why);
    }

    /// Sends a control message and waits for the response, whose data goes to `reply`;
    /// returns the length of the data. At most 30 s; killable.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `ECONNABORTED` when the path was lost meanwhile, those of
    /// [`Session::submit`], or the error of the server.
    pub fn call(&self, dir: Direction, msg: &[u8], reply: &mut [u8]) -> Result<usize> {
        let permit = Permit::new(self.io_depth());
        self.control
            .call(permit, dir, msg, reply, |request| self.send(request))
    }

    /// Sends all waiting requests again, if they can be sent; fails those that must not wait.
    pub fn kick_requeue_list(self: &Arc<Self>) {
        for permit in 0..self.requeue_list.depth() {
            if let Some(request) = self.requeue_list.take(permit) {
                self.resend_request(request);
            }
        }
    }

    /// Sends a request that was accepted before, or completes it with an error.
    pub(super) fn resend_request(self: &Arc<Self>, request: IoRequest) {
        let sent = match request.control || request.stand_in {
            true => Err((request, ECONNABORTED)),
            false if !may_resend(request.lost_paths, self.params().fast_io_fail_tmo()) => {
                self.log_failover_limit(&request);
                Err((request, ECONNABORTED))
            }
            false => self.send_or_queue(request),
        };
        let queued = sent.or_else(|(request, e)| match is_temporary(e) {
            // The server may be executing it, so it keeps its permit.
            true => self.queue_for_retry(request),
            false => Err((request, e)),
        });
        if let Err((request, e)) = queued {
            request.trace_error(&self.name(), e);
            request.payload.done(Err(e));
        }
    }

    #[cold]
    fn log_failover_limit(&self, request: &IoRequest) {
        pr_err_ratelimited!(self.name() =>
            "{}: a request of {} bytes fails, as {} paths were lost with it in flight; check that the MTU is the same on both machines and in between\n",
            self.name(),
            request.len,
            request.lost_paths
        );
    }

    fn queue_for_retry(self: &Arc<Self>, mut request: IoRequest) -> SubmitResult {
        loop {
            let snapshot = self.requeue_list.snapshot();
            match self.requeue_list.push(request, snapshot) {
                Ok(()) => break,
                Err(RequeueError::Failed(request, e)) => return Err((request, e)),
                Err(RequeueError::Outdated(back)) => request = back,
            }
        }
        work::schedule_in::<_, REQUEUE>(self, RETRY_DELAY);
        Ok(())
    }

    #[inline]
    fn send_or_queue(&self, request: IoRequest) -> SubmitResult {
        let snapshot = self.requeue_list.snapshot();
        if !snapshot.is_live() {
            return self.queue_or_send(request, snapshot);
        }
        match self.send(request) {
            // By itself, as the compiler copies what other results have.
            Ok(()) => Ok(()),
            Err((request, e)) if e == ENOTCONN => self.queue_or_send(request, snapshot),
            failed => failed,
        }
    }

    /// Queues a request that could not be sent in the state of `snapshot`, or sends it if the state
    /// has changed.
    #[cold]
    #[inline(never)]
    fn queue_or_send(&self, mut request: IoRequest, mut snapshot: StateSnapshot) -> SubmitResult {
        loop {
            match self.requeue_list.push(request, snapshot) {
                Ok(()) => return Ok(()),
                Err(RequeueError::Failed(request, e)) => return Err((request, e)),
                Err(RequeueError::Outdated(back)) => request = back,
            }
            snapshot = self.requeue_list.snapshot();
            if snapshot.is_live() {
                match self.send(request) {
                    Err((back, e)) if e == ENOTCONN => request = back,
                    other => return other,
                }
            }
        }
    }

    /// Sends a request by the path that the policy chooses; `ENOTCONN` if there is none.
    #[inline]
    fn send(&self, request: IoRequest) -> SubmitResult {
        self.paths.submit(request, self.requeue_list.open_epoch())
    }
}

impl_has_owned_work! { impl HasOwnedWork<REQUEUE> for Session { self.requeue_work } }

impl OwnedWorkItem<REQUEUE> for Session {
    fn run(this: Arc<Self>) {
        this.kick_requeue_list();
    }
}
