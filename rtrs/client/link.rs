// SPDX-License-Identifier: GPL-2.0-only

//! A link: the connections of a path, from being connected to being lost.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    async_event::EventCount,
    imm::Imm, //
};

use crate::{
    common::heartbeat::{
        self,
        Failure, //
    },
    kernel_ext::cpu,
    rdma::{
        connection::{
            Connection,
            SpentId, //
        },
        payload::PayloadBox, //
    }, //
};

use super::{
    conn::Conn,
    io_request::{
        IoRequest,
        Permit,
        Queue,
        SubmitResult, //
    },
    link_state::LinkState,
    negotiated::PathLimits,
    rdma_request::RdmaRequest,
    request_table::RequestTable, //
};

/// A link.
pub(super) struct Link {
    state: Arc<LinkState>,
    requests: Arc<RequestTable<Conn>>,
    limits: PathLimits,
    /// The control connection, those for the CPUs (at least one), and the polled
    /// ones.
    connections: KVec<Connection<Conn>>,
    nr_polled: usize,
    /// Space for the ids of all connections when the link ends.
    spent: KVec<SpentId>,
}

impl Link {
    /// Makes a link of `connections`, of which the last `nr_polled` are polled.
    pub(super) fn new(
        state: Arc<LinkState>,
        requests: Arc<RequestTable<Conn>>,
        limits: PathLimits,
        connections: KVec<Connection<Conn>>,
        nr_polled: usize,
    ) -> Result<Self> {
        let spent = KVec::with_capacity(connections.len(), GFP_KERNEL)?;
        Ok(Self {
            state,
            requests,
            limits,
            connections,
            nr_polled,
            spent,
        })
    }

    /// Returns the state that the connections share.
    pub(super) fn state(&self) -> &LinkState {
        &self.state
    }

    /// Returns the limits of requests.
    pub(super) fn limits(&self) -> PathLimits {
        self.limits
    }

    /// Returns the number of connections.
    pub(super) fn nr_connections(&self) -> usize {
        self.connections.len()
    }

    /// Returns the control connection.
    pub(super) fn control(&self) -> Option<&Connection<Conn>> {
        self.connections.first()
    }

    /// Returns the connections for I/O by CPU.
    fn by_cpu(&self) -> &[Connection<Conn>] {
        let end = self.connections.len().saturating_sub(self.nr_polled);
        self.connections.get(1..end).unwrap_or_default()
    }

    /// Returns the connection of polled queue `number`.
    fn polled(&self, number: u32) -> Option<&Connection<Conn>> {
        let first = self.connections.len().checked_sub(self.nr_polled)?;
        self.connections.get(first..)?.get(number as usize)
    }

    /// Returns the connection for I/O that this CPU submits to `queue`.
    fn connection(&self, queue: Queue) -> Option<&Connection<Conn>> {
        match queue {
            Queue::Cpu => {
                let by_cpu = self.by_cpu();
                by_cpu.get((cpu::current() as usize).checked_rem(by_cpu.len())?)
            }
            Queue::Polled(number) => self.polled(number),
        }
    }

    /// Handles completions of a polled queue; returns how many.
    pub(super) fn poll(&self, number: u32) -> u32 {
        self.polled(number).map_or(0, Connection::poll)
    }

    /// Sends a request. Does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when the link is lost, `EBUSY` when the permit is in use,
    /// `EINVAL` for a wrong one, `ENOMEM` or `ENOSPC` when the device has no room.
    // As `PathSet::submit_from`.
    #[inline(always)]
    pub(super) fn submit(&self, request: IoRequest) -> SubmitResult {
        let Some(connection) = self.connection(request.queue) else {
            return Err((request, ENOTCONN));
        };
        if !self.state.is_alive() {
            return Err((request, ENOTCONN));
        }
        let connection = match connection.qp().context().take_place() {
            true => connection,
            false => match self.with_a_place() {
                Some(connection) => connection,
                None => return Err((request, ENOSPC)),
            },
        };
        let qp = connection.qp();
        self.requests
            .submit(&qp, request)
            .inspect_err(|_| qp.context().put_back_place())
    }

    /// Takes a place on any connection that an interrupt completes requests of.
    #[cold]
    #[inline(never)]
    fn with_a_place(&self) -> Option<&Connection<Conn>> {
        self.by_cpu()
            .iter()
            .find(|connection| connection.qp().context().take_place())
    }

    /// Counts one more timeout of a request in flight; see
    /// [`Session::count_timeout`](super::Session::count_timeout).
    pub(super) fn count_timeout(&self, permit: Permit) -> Option<u32> {
        self.requests.count_timeout(permit)
    }

    /// Withdraws a request; see [`Session::withdraw`](super::Session::withdraw).
    pub(super) fn withdraw(
        &self,
        permit: Permit,
        stand_in: PayloadBox,
    ) -> core::result::Result<(), PayloadBox> {
        let Some(held) = self.requests.take_over(permit) else {
            return Err(stand_in);
        };
        match self.connections.get(usize::from(held.conn())) {
            Some(connection) => RdmaRequest::withdraw(held, &connection.qp(), stand_in),
            None => Err(stand_in),
        }
    }

    /// Does the periodic work of a heartbeat. Returns false when the link is lost.
    pub(super) fn heartbeat(&self) -> bool {
        if !self.state.is_alive() {
            return false;
        }
        let progress = self.connections.iter().map(|conn| conn.qp().nudge());
        let imm = Imm::Heartbeat(EventCount::NONE).encode();
        let result = heartbeat::tick(&*self.state, self.state.heartbeat(), progress, || {
            self.control().ok_or(ENOTCONN)?.qp().post_imm(imm)
        });
        let why = match result {
            Ok(()) => return true,
            Err(Failure::Stuck(_)) => "the device lost a request",
            Err(Failure::Silent) => "no heartbeat from the server",
            Err(Failure::NotSent(_)) => "a heartbeat could not be sent",
        };
        self.state.fail(why);
        false
    }

    /// Ends the link: after this nothing is in flight, nothing can be posted, and no
    /// completion runs. Passes requests without a response to `unanswered`. Sleeps.
    pub(super) fn shut_down(self, unanswered: impl FnMut(IoRequest)) {
        let Self {
            state,
            requests,
            connections,
            mut spent,
            ..
        } = self;
        state.deactivate();
        // All at once, as each waits for its peer.
        for connection in &connections {
            connection.disconnect();
        }
        // Ids are destroyed after the requests are given back, as that may wait for the peer.
        for connection in connections {
            // There is space for all.
            let _ = spent.push_within_capacity(connection.destroy_queues());
        }
        if requests.end(unanswered).is_err() {
            pr_err!("{state}: requests in flight are lost with a queue pair\n");
        }
    }
}
