// SPDX-License-Identifier: GPL-2.0-only

//! The server: listens, and accepts connections.

use core::net::Ipv6Addr;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    claimed_addr::belongs_to_gid,
    wire::rtrs::{
        ConnAccept,
        ConnReq, //
    }, //
};

use crate::{
    common,
    kernel_ext::{
        class::Class,
        log::Plain,
        net::SockAddr,
        workqueue::{
            OwnedWorkqueue,
            WorkqueueKind, //
        }, //
    },
    pr_err_ratelimited,
    rdma::listener::{
        AcceptHandler,
        Incoming,
        Listener, //
    }, //
};

use super::{
    config::ServerConfig,
    params,
    path::Endpoints,
    registry::Shared,
    service::Service,
    session::Registry,
    setup, //
};

/// A server that listens on a port.
///
/// Dropping it stops listening, closes all sessions and waits for that.
pub struct Server {
    // For IPv4, IPv6, and the native addresses of InfiniBand. `Drop` removes them first, then
    // closes all paths. The queues are dropped after that: they wait for the last teardown.
    listeners: [Option<Listener>; 3],
    _queues: [OwnedWorkqueue; 2],
    shared: Arc<Shared>,
}

impl Server {
    /// Listens on `port` of all addresses, also of devices that are added later.
    ///
    /// Without an address family, as when IPv6 is disabled, it listens on the others.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when the port is in use, the last error when it cannot listen at all, `EEXIST` when there is a server already: they would
    /// share the names of sessions in sysfs.
    pub fn start(port: u16, service: Arc<dyn Service>) -> Result<Self> {
        let limits = params::limits()?;
        params::log();
        let offer = ConnAccept::from_limits(limits, params::always_invalidate())
            .map_err(|e| Error::from_errno(-e.errno()))?;
        let class = Class::new(c"rtrs-server")?;
        let queues = [
            OwnedWorkqueue::new(c"rtrs_server", WorkqueueKind::Unbound)?,
            OwnedWorkqueue::new(c"rtrs_server_requests", WorkqueueKind::Urgent)?,
        ];
        let [queue, requests] = queues.each_ref().map(OwnedWorkqueue::handle);
        let config = ServerConfig {
            limits,
            offer,
            eager: common::params::eager_requests(),
            quota: params::quota(),
            queue,
            requests,
        };
        let shared = Shared::new(service, config, class)?;
        let handler = Arc::new(ConnectHandler(shared.clone()), GFP_KERNEL)?;
        // Clients can connect once there is a listener, so an error below must drop a `Server`.
        let mut server = Self {
            listeners: [const { None }; 3],
            _queues: queues,
            shared,
        };
        let addrs = [
            SockAddr::any_v4(port),
            SockAddr::any_v6(port),
            SockAddr::any_gid(port),
        ];
        let mut listens = Err(EADDRNOTAVAIL);
        for (listener, addr) in server.listeners.iter_mut().zip(&addrs) {
            match Listener::new(addr, handler.clone()) {
                Ok(made) => {
                    *listener = Some(made);
                    listens = Ok(());
                }
                // Another server has it, or a later attempt may succeed.
                Err(e) if e == EADDRINUSE || e == ENOMEM => return Err(e),
                Err(e) => {
                    pr_warn!("not listening on port {port} of {addr}: {e:?}\n");
                    listens = listens.map_err(|_| e);
                }
            }
        }
        listens.map(|()| server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            drop(listener.take());
        }
        // Only after that may the queue refuse teardowns.
        self.shared.stop();
    }
}

/// Handler of connection requests.
struct ConnectHandler(Arc<Shared>);

impl AcceptHandler for ConnectHandler {
    fn incoming(&self, incoming: Incoming<'_>, private: &[u8]) {
        let ends = Endpoints {
            src: incoming.src(),
            dst: incoming.dst(),
        };
        if let Err(e) = check_claim(&ends, incoming.roce_gid()) {
            return incoming.reject(&setup::rejection(e));
        }
        if let Err(e) = self.0.service().admit_peer(&ends.peer()) {
            return incoming.reject(&setup::rejection(e));
        }
        let req = match ConnReq::parse(private) {
            Ok(req) => req,
            Err(e) => {
                pr_err_ratelimited!(ends => "{ends}: connection refused: {}\n", Plain(e));
                return incoming.reject(&setup::rejection(ECONNRESET));
            }
        };
        match self.0.admit(&req, incoming.device(), ends) {
            Ok(path) => setup::accept(&path, &req, private, incoming),
            Err(e) => {
                pr_err_ratelimited!(ends => "{ends}: connection {} refused: {e:?}\n", req.id());
                incoming.reject(&setup::rejection(e));
            }
        }
    }
}

/// Fails if the address that a request claims is not that of `gid`, which the request came from.
///
/// # Errors
///
/// `EACCES`, with a line in the log.
fn check_claim(ends: &Endpoints, gid: Option<Ipv6Addr>) -> Result {
    let (Some(addr), Some(gid)) = (ends.dst.addr(), gid) else {
        return Ok(());
    };
    if belongs_to_gid(addr, gid) {
        return Ok(());
    }
    let gid = Plain(gid);
    pr_err_ratelimited!(ends => "{ends}: connection refused: it came from GID {gid}, not from that address\n");
    Err(EACCES)
}
