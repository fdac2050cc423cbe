// SPDX-License-Identifier: GPL-2.0-only

//! Context of a connection: what its completions and connection manager events refer to.

use core::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::recv_window::RecvWindow;

use crate::{
    kernel_ext::{
        cache_padded::CachePadded,
        log::LogSubject, //
    },
    rdma::cm::{
        CmEvent,
        CmEvents, //
    }, //
};

use super::{
    link_state::LinkState,
    negotiated::Negotiated,
    rdma_request::RequestConn,
    request_table::RequestTable, //
};

/// Number of the control connection.
pub(super) const CONTROL_CONN: u16 = 0;

/// Tells a recorded key from none.
const HAS_KEY: u64 = 1 << 32;

/// The context of one connection.
pub(super) struct Conn {
    link: Arc<LinkState>,
    id: u16,
    /// Whether its completions are polled for.
    polled: bool,
    /// The requests of the link. The control connection carries none.
    requests: Option<Arc<RequestTable<Conn>>>,
    /// What may be in flight, if that is less than all requests of the link.
    window: Option<CachePadded<RecvWindow>>,
    /// The key that the server invalidated since its last response: [`HAS_KEY`] and the
    /// key, or 0. Only one completion of a connection is handled at a time.
    invalidated: AtomicU64,
}

impl Conn {
    /// Makes the context of the control connection.
    pub(super) fn control(link: &Arc<LinkState>) -> Result<Arc<Self>> {
        Self::new(link, CONTROL_CONN, false, None, None)
    }

    /// Makes the context of connection `id` for I/O.
    pub(super) fn io(
        link: &Arc<LinkState>,
        id: u16,
        polled: bool,
        requests: &Arc<RequestTable<Conn>>,
    ) -> Result<Arc<Self>> {
        let Negotiated { window, depth, .. } = *requests.negotiated();
        let window = window.filter(|window| *window < depth.get());
        let window = window.map(|size| CachePadded(RecvWindow::new(size)));
        Self::new(link, id, polled, Some(requests.clone()), window)
    }

    fn new(
        link: &Arc<LinkState>,
        id: u16,
        polled: bool,
        requests: Option<Arc<RequestTable<Conn>>>,
        window: Option<CachePadded<RecvWindow>>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                link: link.clone(),
                id,
                polled,
                requests,
                window,
                invalidated: AtomicU64::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the state of the link.
    pub(super) fn link(&self) -> &LinkState {
        &self.link
    }

    /// Whether this is the control connection.
    pub(super) fn is_control(&self) -> bool {
        self.id == CONTROL_CONN
    }

    /// Returns the requests that the connection carries.
    pub(super) fn requests(&self) -> Option<&RequestTable<Conn>> {
        self.requests.as_deref()
    }

    /// Takes a place for a request that is about to be sent. Returns false if as many requests as
    /// the server has receives for are in flight.
    #[inline]
    pub(super) fn take_place(&self) -> bool {
        self.window.as_ref().is_none_or(|window| window.take())
    }

    /// Returns the place of a request that was not sent, or that the server responded to.
    #[inline]
    pub(super) fn put_back_place(&self) {
        if let Some(window) = &self.window {
            window.put_back();
        }
    }

    /// Records that the server invalidated `rkey`.
    pub(super) fn record_invalidated(&self, rkey: u32) {
        self.invalidated.store(HAS_KEY | u64::from(rkey), Relaxed);
    }

    /// Takes the key that the server invalidated with the response that is being handled.
    ///
    /// The server sends both in one chain, so on one connection the invalidation comes right
    /// before the response that claims it. It counts for one response only, as keys recur.
    pub(super) fn take_invalidated(&self) -> Option<u32> {
        let recorded = self.invalidated.load(Relaxed);
        if recorded == 0 {
            return None;
        }
        self.invalidated.store(0, Relaxed);
        // CAST: The key is in the lower half.
        Some(recorded as u32)
    }
}

impl RequestConn for Conn {
    fn id(&self) -> u16 {
        self.id
    }

    fn is_polled(&self) -> bool {
        self.polled
    }

    fn fail_link(&self, why: &str) {
        self.link.fail(why);
    }

    fn path(&self) -> &dyn LogSubject {
        &*self.link
    }
}

impl CmEvents for Conn {
    fn event(&self, event: CmEvent) {
        match event {
            CmEvent::Established => {}
            CmEvent::Disconnected => self.link.fail("the server disconnected"),
            CmEvent::AddrChange => self.link.fail("the local address changed"),
            CmEvent::InterfaceDown => self.link.fail("the network interface goes down"),
            CmEvent::DeviceRemoval => self.link.fail("the RDMA device was removed"),
        }
    }
}
