// SPDX-License-Identifier: GPL-2.0-only

//! The passive side of making connections.

use core::{
    net::Ipv6Addr,
    ptr::NonNull, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    bindings,
    kernel_ext::net::SockAddr, //
};

use super::{
    cm::{
        CmEvents,
        CmId,
        Context,
        MAX_RETRIES, //
    },
    connection::Connection,
    device::{
        caller,
        CmDevice, //
    },
    pd::Pd,
    qp::{
        QpConfig,
        QpRef, //
    }, //
};

/// Decides about connection requests.
pub(crate) trait AcceptHandler: Send + Sync {
    /// Called with the connection request of a peer and its private data.
    ///
    /// Consume `incoming` by [`Incoming::accept`] or [`Incoming::reject`]; the drop rejects it
    /// without private data. Runs in a worker of the connection manager, one call at a time
    /// for a listener.
    fn incoming(&self, incoming: Incoming<'_>, private: &[u8]);
}

/// A connection request that is neither accepted nor rejected.
pub(crate) struct Incoming<'a> {
    id: NonNull<bindings::rdma_cm_id>,
    result: &'a mut HandlerResult,
}

/// Owner of the id of a request after the handler.
enum HandlerResult {
    /// Neither accepted nor rejected: the connection manager rejects and destroys it.
    Undecided,
    /// A [`Connection`] owns it.
    Taken,
    /// Rejected; the connection manager destroys it.
    Rejected,
}

impl Incoming<'_> {
    /// Returns the device that received the request.
    pub(crate) fn device(&self) -> Result<CmDevice<'_>> {
        // SAFETY: The id is alive and bound to the device that received the request;
        // `NonNull` has the layout of a pointer.
        let dev = unsafe {
            &*(&raw const (*self.id.as_ptr()).device).cast::<Option<NonNull<bindings::ib_device>>>()
        };
        dev.as_ref().map(CmDevice).ok_or(ENODEV)
    }

    /// Returns the local address.
    pub(crate) fn src(&self) -> SockAddr {
        // SAFETY: The id is alive; the address is a `sockaddr_storage`.
        unsafe { SockAddr::from_raw((&raw const (*self.id.as_ptr()).route.addr.src_addr).cast()) }
    }

    /// Returns the address of the peer.
    pub(crate) fn dst(&self) -> SockAddr {
        // SAFETY: As above.
        unsafe { SockAddr::from_raw((&raw const (*self.id.as_ptr()).route.addr.dst_addr).cast()) }
    }

    /// Returns the GID that the request came from, if GIDs are IP addresses here: over RoCE.
    ///
    /// Over iWARP there is none, and the address of the peer is that of a TCP connection. Over
    /// InfiniBand a GID tells nothing about an IP address.
    pub(crate) fn roce_gid(&self) -> Option<Ipv6Addr> {
        let device = self.device().ok()?;
        // SAFETY: The id is alive, and bound to a port of the device.
        let roce =
            unsafe { bindings::rdma_protocol_roce(device.as_ptr(), (*self.id.as_ptr()).port_num) };
        if !roce {
            return None;
        }
        // SAFETY: The request of an id over RoCE has a path record, constant while the handler
        // runs. Its GIDs, of the local end and of the peer, are 16 bytes each.
        let gid = unsafe {
            let path = (*self.id.as_ptr()).route.path_rec.as_ref()?;
            (&raw const path.dgid).cast::<[u8; 16]>().read()
        };
        Some(gid.into())
    }

    /// Accepts the request, with `private` as private data for the peer
    /// ([`rdma_accept`](srctree/include/rdma/rdma_cm.h)).
    ///
    /// `prepare` posts receives for the first messages of the peer. On failure the request is
    /// rejected with `refusal`, and every receive that was posted has completed when this
    /// returns.
    pub(crate) fn accept<C: CmEvents + 'static>(
        self,
        pd: &Arc<Pd>,
        context: Arc<C>,
        config: &QpConfig,
        prepare: impl FnOnce(&QpRef<'_, C>) -> Result,
        private: &[u8],
        refusal: impl FnOnce(Error) -> [u8; 56],
    ) -> Result<Connection<C>> {
        // SAFETY: This runs in the handler of the request. On failure the value is forgotten
        // below.
        let mut cm = match unsafe { CmId::adopt(self.id) } {
            Ok(cm) => cm,
            Err(e) => {
                self.reject(&refusal(e));
                return Err(e);
            }
        };
        cm.context().set_sink(context.clone());
        // The client chose the number of retries; the timeout is not essential.
        let _ = cm.set_ack_timeout();
        if let Err(e) = cm.begin_sending() {
            let context = cm.leave_to_handler();
            self.reject_adopted(&refusal(e), context);
            return Err(e);
        }
        let conn = match Connection::new(cm, pd, context, config) {
            Ok(conn) => conn,
            Err((cm, e)) => {
                let context = cm.leave_to_handler();
                self.reject_adopted(&refusal(e), context);
                return Err(e);
            }
        };
        let accepted = prepare(&conn.qp()).and_then(|()| {
            let mut param = bindings::rdma_conn_param {
                private_data: private.as_ptr().cast(),
                private_data_len: u8::try_from(private.len())?,
                rnr_retry_count: MAX_RETRIES,
                ..Default::default()
            };
            // SAFETY: This runs in the handler of the id, as the function requires; the id
            // has a queue pair.
            to_result(unsafe { bindings::rdma_accept(self.id.as_ptr(), &raw mut param) })
        });
        match accepted {
            Ok(()) => {
                *self.result = HandlerResult::Taken;
                Ok(conn)
            }
            Err(e) => {
                let context = conn.undo();
                self.reject_adopted(&refusal(e), context);
                Err(e)
            }
        }
    }

    /// Rejects the request, with `private` as private data for the peer
    /// ([`rdma_reject`](srctree/include/rdma/rdma_cm.h)).
    pub(crate) fn reject(self, private: &[u8; 56]) {
        // SAFETY: This runs in the handler of the id; the data is copied.
        unsafe {
            bindings::rdma_reject(
                self.id.as_ptr(),
                private.as_ptr().cast(),
                private.len() as u8,
                bindings::ib_cm_rej_reason_IB_CM_REJ_CONSUMER_DEFINED as u8,
            )
        };
        *self.result = HandlerResult::Rejected;
    }

    /// Rejects a request whose id has a [`Context`] already. The context is removed, as no
    /// event may use it after this.
    fn reject_adopted(self, private: &[u8; 56], context: Arc<Context>) {
        // SAFETY: This runs in the handler of the id, so no event is delivered.
        unsafe {
            (*self.id.as_ptr()).context = core::ptr::null_mut();
            (*self.id.as_ptr()).event_handler = Some(ignore);
        }
        drop(context);
        self.reject(private);
    }
}

/// An owned listening id.
///
/// # Invariants
///
/// The context of `id` is the pointer of `accept`.
pub(crate) struct Listener {
    id: NonNull<bindings::rdma_cm_id>,
    _accept: Pin<KBox<Arc<dyn AcceptHandler>>>,
}

// SAFETY: The connection manager locks internally.
unsafe impl Send for Listener {}
// SAFETY: As above.
unsafe impl Sync for Listener {}

impl Listener {
    /// Listens on `addr` ([`rdma_listen`](srctree/include/rdma/rdma_cm.h)).
    ///
    /// A wildcard address includes devices that appear later, but no other address family:
    /// iWARP does not support IPv4-mapped IPv6 addresses.
    pub(crate) fn new(addr: &SockAddr, accept: Arc<dyn AcceptHandler>) -> Result<Self> {
        let accept = KBox::pin(accept, GFP_KERNEL)?;
        // SAFETY: The handler has the right signature; the context is kept
        // alive by the value made below, which destroys the id first.
        let id = from_err_ptr(unsafe {
            bindings::__rdma_create_kernel_id(
                crate::kernel_ext::net::init_net(),
                Some(handler),
                core::ptr::from_ref::<Arc<dyn AcceptHandler>>(&accept)
                    .cast_mut()
                    .cast(),
                addr.port_space(),
                bindings::ib_qp_type_IB_QPT_RC,
                caller().as_char_ptr(),
            )
        })?;
        // INVARIANT: Created with this context.
        let this = Self {
            id: NonNull::new(id).ok_or(ENOMEM)?,
            _accept: accept,
        };
        let addr = *addr;
        // SAFETY: The id is alive; the address is only read.
        unsafe {
            to_result(bindings::rdma_set_afonly(id, 1))?;
            to_result(bindings::rdma_bind_addr(id, addr.as_ptr()))?;
            to_result(bindings::rdma_listen(id, BACKLOG))?;
        }
        Ok(this)
    }
}

/// Number of connection requests that may wait.
const BACKLOG: i32 = 64;

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: Owned. Waits for handlers that run.
        unsafe { bindings::rdma_destroy_id(self.id.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the connection manager for the id of a [`Listener`], or for ids of its requests
/// that are neither accepted nor rejected.
unsafe extern "C" fn handler(
    id: *mut bindings::rdma_cm_id,
    event: *mut bindings::rdma_cm_event,
) -> core::ffi::c_int {
    // SAFETY: Valid for this call.
    let kind = unsafe { (*event).event };
    if kind != bindings::rdma_cm_event_type_RDMA_CM_EVENT_CONNECT_REQUEST {
        return 0;
    }
    let Some(id) = NonNull::new(id) else { return 0 };
    // SAFETY: A new id inherits the context of its listener, which is not
    // destroyed while a handler runs.
    let accept = unsafe { &*(*id.as_ptr()).context.cast::<Arc<dyn AcceptHandler>>() };
    // SAFETY: A connection event carries this member of the union.
    let private = unsafe {
        let conn = (*event).param.conn.as_ref();
        super::cm::Private::copy(conn.private_data, conn.private_data_len)
    };
    let mut result = HandlerResult::Undecided;
    accept.incoming(
        Incoming {
            id,
            result: &mut result,
        },
        private.as_slice(),
    );
    match result {
        HandlerResult::Taken => 0,
        // Tells the connection manager to destroy the id.
        HandlerResult::Undecided | HandlerResult::Rejected => -(bindings::ECONNREFUSED as i32),
    }
}

/// # Safety
///
/// Called by the connection manager, if at all, for ids of rejected requests.
unsafe extern "C" fn ignore(
    _id: *mut bindings::rdma_cm_id,
    _event: *mut bindings::rdma_cm_event,
) -> core::ffi::c_int {
    0
}
