// SPDX-License-Identifier: GPL-2.0-only

//! The passive side of making connections.

use super::cm::caller;
use super::cm::CmEvents;
use super::cm::CmId;
use super::cm::Context;
use super::cm::MAX_RETRIES;
use super::connection::Connection;
use super::pd::CmDevice;
use super::pd::Pd;
use super::qp::QpConfig;
use super::qp::QpRef;
use crate::bindings;
use crate::kernel_ext::net::SockAddr;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Who decides about connection requests.
pub trait AcceptHandler: Send + Sync {
    /// A peer wants to connect and sent `private`.
    ///
    /// Either consume `incoming` by [`Incoming::accept`] or
    /// [`Incoming::reject`]; dropping it rejects without a word. Runs in a
    /// worker of the connection manager, one at a time for a listener.
    fn incoming(&self, incoming: Incoming<'_>, private: &[u8]);
}

/// A connection request that is being decided.
pub struct Incoming<'a> {
    id: NonNull<bindings::rdma_cm_id>,
    verdict: &'a mut HandlerResult,
}

/// What is to become of the id of a request.
enum HandlerResult {
    /// Nobody decided: the connection manager rejects and destroys it.
    Undecided,
    /// A [`Connection`] owns it.
    Taken,
    /// An answer was sent; the connection manager destroys it.
    Refused,
}

impl Incoming<'_> {
    /// The device that the request came in by.
    pub fn device(&self) -> Result<CmDevice<'_>> {
        // SAFETY: The id is alive and bound to a device, as a request came by
        // it; `NonNull` has the layout of a pointer.
        let dev = unsafe {
            &*(&raw const (*self.id.as_ptr()).device).cast::<Option<NonNull<bindings::ib_device>>>()
        };
        dev.as_ref().map(CmDevice).ok_or(ENODEV)
    }

    /// The address of this side.
    pub fn src(&self) -> SockAddr {
        // SAFETY: The id is alive; the address is a `sockaddr_storage`.
        unsafe { SockAddr::from_raw((&raw const (*self.id.as_ptr()).route.addr.src_addr).cast()) }
    }

    /// The address of the peer.
    pub fn dst(&self) -> SockAddr {
        // SAFETY: As above.
        unsafe { SockAddr::from_raw((&raw const (*self.id.as_ptr()).route.addr.dst_addr).cast()) }
    }

    /// Accepts, after `prepare` posted the receives that the peer's first
    /// messages will need. `private` is for the peer.
    ///
    /// When anything fails the request is rejected with `refusal`, and what
    /// `prepare` posted has been given back when this returns.
    pub fn accept<C: CmEvents + 'static>(
        self,
        pd: &Arc<Pd>,
        context: Arc<C>,
        config: &QpConfig,
        prepare: impl FnOnce(&QpRef<'_, C>) -> Result,
        private: &[u8],
        refusal: impl FnOnce(Error) -> [u8; 56],
    ) -> Result<Connection<C>> {
        // SAFETY: We are in the handler that brought the id. If the value does
        // not stay, it is forgotten below.
        let cm = match unsafe { CmId::adopt(self.id) } {
            Ok(cm) => cm,
            Err(e) => {
                self.reject(&refusal(e));
                return Err(e);
            }
        };
        cm.context().set_sink(context.clone());
        // The client said how often to send again; without the rest it works as well.
        let _ = cm.be_patient();
        let conn = match Connection::new(cm, pd, context, config) {
            Ok(conn) => conn,
            Err((cm, e)) => {
                let context = cm.leave_to_handler();
                self.refuse(&refusal(e), context);
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
            // SAFETY: We are in the handler of this id, as the function
            // demands; it has a queue pair.
            to_result(unsafe { bindings::rdma_accept(self.id.as_ptr(), &raw mut param) })
        });
        match accepted {
            Ok(()) => {
                *self.verdict = HandlerResult::Taken;
                Ok(conn)
            }
            Err(e) => {
                let context = conn.undo();
                self.refuse(&refusal(e), context);
                Err(e)
            }
        }
    }

    /// Rejects, with `private` for the peer.
    pub fn reject(self, private: &[u8; 56]) {
        // SAFETY: We are in the handler of this id; the data is copied.
        unsafe {
            bindings::rdma_reject(
                self.id.as_ptr(),
                private.as_ptr().cast(),
                private.len() as u8,
                bindings::ib_cm_rej_reason_IB_CM_REJ_CONSUMER_DEFINED as u8,
            )
        };
        *self.verdict = HandlerResult::Refused;
    }

    /// Rejects with an id that has a context of its own already: back to one
    /// that needs none, as no event may find it after this.
    fn refuse(self, private: &[u8; 56], context: Arc<Context>) {
        // SAFETY: We are in the handler of this id, so no event is delivered.
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
pub struct Listener {
    id: NonNull<bindings::rdma_cm_id>,
    _accept: Pin<KBox<Arc<dyn AcceptHandler>>>,
}

// SAFETY: The connection manager locks internally.
unsafe impl Send for Listener {}
// SAFETY: As above.
unsafe impl Sync for Listener {}

impl Listener {
    /// Listens on `addr`; a wildcard address also covers devices that appear
    /// later, but no other family: iWARP knows no IPv4 addresses written as IPv6.
    pub fn new(addr: &SockAddr, accept: Arc<dyn AcceptHandler>) -> Result<Self> {
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
        // INVARIANT: Made with this context.
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

/// Requests that wait for a decision.
const BACKLOG: i32 = 64;

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: Ours. Waits for handlers that run.
        unsafe { bindings::rdma_destroy_id(self.id.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the connection manager for the id of a [`Listener`], or for ids
/// that came by it and were not decided yet.
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
    // SAFETY: A new id inherits the context of its listener, which cannot go
    // while a handler runs.
    let accept = unsafe { &*(*id.as_ptr()).context.cast::<Arc<dyn AcceptHandler>>() };
    // SAFETY: A connection event carries this member of the union.
    let private = unsafe {
        let conn = (*event).param.conn.as_ref();
        super::cm::Private::copy(conn.private_data, conn.private_data_len)
    };
    let mut verdict = HandlerResult::Undecided;
    accept.incoming(
        Incoming {
            id,
            verdict: &mut verdict,
        },
        private.as_slice(),
    );
    match verdict {
        HandlerResult::Taken => 0,
        // Makes the connection manager destroy the id.
        HandlerResult::Undecided | HandlerResult::Refused => -(bindings::ECONNREFUSED as i32),
    }
}

/// # Safety
///
/// Called by the connection manager, if at all, for ids that were refused.
unsafe extern "C" fn ignore(
    _id: *mut bindings::rdma_cm_id,
    _event: *mut bindings::rdma_cm_event,
) -> core::ffi::c_int {
    0
}
