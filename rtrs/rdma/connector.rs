// SPDX-License-Identifier: GPL-2.0-only

//! The active side of connection setup.

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::reject_reason::RejectReason;

use crate::{
    bindings,
    kernel_ext::net::SockAddr, //
};

use super::{
    cm::{
        CmEvents,
        CmId,
        Interrupt,
        Private,
        Step,
        MAX_RETRIES, //
    },
    connection::Connection,
    device::CmDevice,
    pd::Pd,
    qp::QpConfig, //
};

/// Reason why a connection was not made.
pub(crate) enum ConnectError {
    /// The peer rejected it, with this private data, or without.
    Rejected(Private, RejectReason),
    /// Any other error.
    Other(Error),
}

impl From<Error> for ConnectError {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

/// Limit of the address resolution in milliseconds; neighbour discovery itself gives up
/// after 3 s.
///
/// If ib_core learns of the neighbour while it schedules its next check, it does not check
/// again before this time has passed.
const ADDR_TIMEOUT_MS: usize = 5_000;

/// A connection id whose address and route are resolved.
pub(crate) struct Resolved {
    cm: CmId,
    /// Number of retransmissions of a packet.
    retries: u8,
}

impl Resolved {
    /// Resolves the device and the route to `dst`
    /// ([`rdma_resolve_addr`, `rdma_resolve_route`](srctree/include/rdma/rdma_cm.h)).
    ///
    /// Takes at most 5 s for the address and `timeout_ms` for the route. Killable.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` when there is no route, `ENODEV` when the route has no RDMA device,
    /// `EINTR` when the task was killed, `ECANCELED` when `interrupt` was raised.
    pub(crate) fn new(
        src: Option<&SockAddr>,
        dst: &SockAddr,
        timeout_ms: u32,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let cm = CmId::new(dst)?;
        let timeout = timeout_ms as usize;
        let addr_timeout = timeout.min(ADDR_TIMEOUT_MS);
        let limit = limit(timeout_ms);
        // The C function may fill in the wildcard address, so give it copies.
        let mut dst = *dst;
        let mut src = src.copied();
        let src = src
            .as_mut()
            .map_or(core::ptr::null_mut(), |src| src.as_ptr());
        // SAFETY: Both addresses are `sockaddr_storage` on the stack (or null),
        // which the function copies.
        unsafe {
            to_result(bindings::rdma_set_reuseaddr(cm.as_ptr(), 1))?;
            to_result(bindings::rdma_resolve_addr(
                cm.as_ptr(),
                src,
                (&raw mut dst).cast(),
                addr_timeout,
            ))?;
        }
        match cm.context().wait(limit, interrupt)? {
            Step::AddrResolved => {}
            Step::Failed(e) => return Err(e),
            _ => return Err(EIO),
        }
        let retries = cm.set_ack_timeout()?;
        // SAFETY: The id is alive and its address resolved.
        to_result(unsafe { bindings::rdma_resolve_route(cm.as_ptr(), timeout) })?;
        match cm.context().wait(limit, interrupt)? {
            Step::RouteResolved => Ok(Self { cm, retries }),
            Step::Failed(e) => Err(e),
            _ => Err(EIO),
        }
    }

    /// Returns the device of the route.
    pub(crate) fn device(&self) -> Result<CmDevice<'_>> {
        self.cm.device()
    }

    /// Connects ([`rdma_connect`](srctree/include/rdma/rdma_cm.h)), and returns the connection
    /// and the private data of the peer.
    ///
    /// `private` is private data for the peer, at most 56 bytes in the IP port space. From
    /// here on `context` receives events. Takes at most `timeout_ms`; killable, and ended by
    /// `interrupt` as [`Resolved::new`] is.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the port of the device is not active.
    pub(crate) fn connect<C: CmEvents + 'static>(
        mut self,
        pd: &Arc<Pd>,
        context: Arc<C>,
        config: &QpConfig,
        private: &[u8],
        timeout_ms: u32,
        interrupt: &Interrupt,
    ) -> core::result::Result<(Connection<C>, Private), ConnectError> {
        self.cm.context().set_sink(context.clone());
        self.cm.begin_sending()?;
        let conn = Connection::new(self.cm, pd, context, config).map_err(|(_, e)| e)?;
        let mut param = bindings::rdma_conn_param {
            private_data: private.as_ptr().cast(),
            private_data_len: u8::try_from(private.len()).map_err(|_| EINVAL)?,
            retry_count: self.retries,
            rnr_retry_count: MAX_RETRIES,
            ..Default::default()
        };
        // SAFETY: The id is alive and has a queue pair; the private data is
        // copied.
        let ret = unsafe { bindings::rdma_connect(conn.cm().as_ptr(), &raw mut param) };
        to_result(ret)?;
        match conn.cm().context().wait(limit(timeout_ms), interrupt)? {
            Step::Established(private) => Ok((conn, private)),
            Step::Rejected(private, reason) => Err(ConnectError::Rejected(private, reason)),
            Step::Failed(e) => Err(e.into()),
            _ => Err(EIO.into()),
        }
    }
}

fn limit(timeout_ms: u32) -> Delta {
    Delta::from_millis(i64::from(timeout_ms))
}
