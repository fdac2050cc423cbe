// SPDX-License-Identifier: GPL-2.0-only

//! What the requests of a path use: chunks, dispatch queues, statistics.

use kernel::{
    fmt,
    prelude::*,
    sync::Arc,
    time::{
        Delta,
        Instant,
        Monotonic,
        NSEC_PER_SEC, //
    }, //
};

use rnbd_proto::limits::{
    BufId,
    QueueDepth, //
};

use crate::{
    kernel_ext::{
        completion::Completion,
        log::LogPeer,
        set_once::SetOnce, //
    },
    pr_warn_ratelimited,
    rdma::op::HeldOp,
    server::{
        chunk::{
            self,
            ChunkSlot, //
        },
        config::ServerConfig,
        dispatch_queue::{
            Dispatch,
            DispatchQueue, //
        },
        early_requests::EarlyRequests,
        receive::Receive, //
    }, //
};

use super::stats::Stats;

/// The interval of warnings while a teardown waits for requests.
const WARN_PERIOD: Delta = Delta::from_secs(30);

/// The chunks and queues of a path, for requests of type `R`.
#[pin_data]
pub(in crate::server) struct Data<R> {
    /// By id; set during set-up.
    chunks: SetOnce<KVec<ChunkSlot>>,
    /// By connection id; set during set-up, once all connections are there: the client only asks
    /// for a number of connections, and queues are memory.
    queues: SetOnce<KVec<Arc<DispatchQueue<R>>>>,
    /// Eager requests for chunks whose response is being sent.
    #[pin]
    early: EarlyRequests<HeldOp<Receive>>,
    stats: Stats,
    /// Completed by each request that ends while the path is torn down.
    #[pin]
    returned: Completion,
}

impl<R: Dispatch> Data<R> {
    /// Creates one without chunks and queues.
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let stats = Stats::new()?;
        Ok(pin_init!(Self {
            chunks: SetOnce::new(),
            queues: SetOnce::new(),
            early <- EarlyRequests::new(),
            stats,
            returned <- Completion::new(),
        }))
    }

    /// Sets the chunks; `EPROTO` if there are some already.
    pub(in crate::server) fn set_chunks(
        &self,
        chunks: KVec<ChunkSlot>,
        depth: QueueDepth,
    ) -> Result {
        self.early.reserve(depth)?;
        self.chunks.populate(chunks).then_some(()).ok_or(EPROTO)
    }

    /// Returns the chunks; `ENOTCONN` before set-up.
    pub(in crate::server) fn chunks(&self) -> Result<&KVec<ChunkSlot>> {
        self.chunks.as_ref().ok_or(ENOTCONN)
    }

    /// Returns chunk `id`.
    pub(in crate::server) fn chunk(&self, id: BufId) -> Option<&ChunkSlot> {
        self.chunks.as_ref()?.get(id.index())
    }

    /// Creates a queue for each of `count` connections; `EPROTO` if there are some already.
    pub(in crate::server) fn make_queues(&self, count: u16, config: &ServerConfig) -> Result {
        let mut queues = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        for _ in 0..count {
            let queue = DispatchQueue::new(config.limits.queue_depth(), &config.requests)?;
            queues.push(queue, GFP_KERNEL)?;
        }
        self.queues.populate(queues).then_some(()).ok_or(EPROTO)
    }

    /// Returns the queue for requests that arrive on connection `id`.
    pub(in crate::server) fn queue(&self, id: u16) -> Option<&Arc<DispatchQueue<R>>> {
        self.queues.as_ref()?.get(usize::from(id))
    }

    /// Stops the work items of the queues, which are empty and stay so.
    pub(in crate::server) fn stop_queues(&self) {
        for queue in self.queues.as_ref().into_iter().flatten() {
            queue.stop();
        }
    }

    /// Returns the eager requests that wait for the last response of their chunk.
    pub(in crate::server) fn early(&self) -> &EarlyRequests<HeldOp<Receive>> {
        &self.early
    }

    /// Returns the statistics.
    pub(in crate::server) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns the bytes of memory of the chunks that are allocated.
    pub(in crate::server) fn pinned(&self, config: &ServerConfig) -> usize {
        let chunks = self.chunks.as_ref().map_or(0, |chunks| chunks.len());
        chunks.saturating_mul(chunk::memory(config.limits))
    }

    /// Tells [`Data::wait_for_requests`] that a chunk was released.
    pub(super) fn chunk_returned(&self) {
        self.returned.complete();
    }

    /// Waits until every chunk has been idle once. No request arrives any more, so they stay idle.
    /// Warns from time to time that requests of `path` are left.
    pub(in crate::server) fn wait_for_requests(&self, path: &(impl fmt::Display + LogPeer)) {
        let Some(slots) = self.chunks.as_ref() else {
            return;
        };
        let began = Instant::<Monotonic>::now();
        for (index, slot) in slots.iter().enumerate() {
            while slot.begin().is_none() {
                if !self.returned.wait_timeout(WARN_PERIOD) {
                    let seconds = began.elapsed().as_nanos() / NSEC_PER_SEC;
                    let rest = slots.get(index..).unwrap_or_default();
                    let left = rest.iter().filter(|slot| slot.begin().is_none()).count();
                    pr_warn_ratelimited!(path =>
                        "{path}: still waiting for requests, {left} left, for {seconds} s\n"
                    );
                }
            }
        }
    }
}
