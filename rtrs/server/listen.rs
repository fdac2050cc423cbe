// SPDX-License-Identifier: GPL-2.0-only

//! The server itself: listens and takes connections in.

use core::sync::atomic::Ordering::Relaxed;

use kernel::new_condvar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::CondVar;
use kernel::sync::CondVarTimeoutResult;
use kernel::sync::Mutex;
use kernel::time::msecs_to_jiffies;
use rnbd_proto::error;
use rnbd_proto::limits::ServerLimits;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rtrs;
use rnbd_proto::wire::rtrs::ConnReq;
use rnbd_proto::wire::rtrs::ConnRsp;
use rnbd_proto::wire::rtrs::CONN_MSG_SIZE;

use super::conn;
use super::conn::Conn;
use super::info::InfoReceive;
use super::params;
use super::path::Endpoints;
use super::path::Path;
use super::path_table::PathTable;
use super::service::Service;
use crate::kernel_ext::class::Class;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::workqueue::OwnedWorkqueue;
use crate::kernel_ext::workqueue::WorkqueueHandle;
use crate::kernel_ext::workqueue::WorkqueueKind;
use crate::pr_err_ratelimited;
use crate::rdma::listener::AcceptHandler;
use crate::rdma::listener::Incoming;
use crate::rdma::listener::Listener;

/// What all parts of a server know.
#[pin_data]
pub(super) struct Shared {
    pub(super) service: Arc<dyn Service>,
    pub(super) limits: ServerLimits,
    /// What is offered to clients, but for what they must have asked for.
    pub(super) offer: rtrs::ConnAccept,
    /// Where heartbeats and teardowns run.
    pub(super) queue: WorkqueueHandle,
    /// Where requests are handed to the service.
    pub(super) requests: WorkqueueHandle,
    #[pin]
    pub(super) table: Mutex<PathTable>,
    /// Notified when a path left the table, or is about to.
    #[pin]
    left: CondVar,
}

impl Shared {
    /// Takes a path out of the table.
    pub(super) fn remove(&self, path: &Arc<Path>) {
        self.table.lock().remove(path);
        self.left.notify_all();
    }

    /// A path is closing: should it wait for others, it need not any more.
    pub(super) fn stop_waiting(&self) {
        // Who saw it open under the lock is waiting once the lock is free.
        drop(self.table.lock());
        self.left.notify_all();
    }

    /// Gives the session of `path` the name that its client wants.
    ///
    /// As a client may be back before all is cleaned up after it, this waits for
    /// a session of that name that is going, and for paths of the same session
    /// that are: what they still execute may be what the client is going to send
    /// again, by then under another message id.
    pub(super) fn claim_name(&self, path: &Arc<Path>, name: SessName<'_>) -> Result {
        let mut table = self.table.lock();
        let mut patience = msecs_to_jiffies(PATIENCE_MS);
        while !path.is_closing()
            && (table.is_leaving(path, name) || table.has_closing_sibling(path))
        {
            match self.left.wait_interruptible_timeout(&mut table, patience) {
                CondVarTimeoutResult::Woken { jiffies } => patience = jiffies,
                CondVarTimeoutResult::Timeout | CondVarTimeoutResult::Signal { .. } => break,
            }
        }
        table.claim_name(path, name)
    }
}

/// How long a new path waits for those to go that are in its way.
const PATIENCE_MS: u32 = 10_000;

/// A server that listens on a port.
///
/// Dropping it stops listening, closes all sessions and waits for that.
pub struct Server {
    // Gone before the rest, then the queues: they wait for the last teardown to
    // return. For IPv4, IPv6, and the native addresses of InfiniBand.
    listeners: [Option<Listener>; 3],
    _queues: [OwnedWorkqueue; 2],
    shared: Arc<Shared>,
}

impl Server {
    /// Listens on `port` of all addresses, also of devices that come later.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when another one listens there, `EEXIST` when there is a
    /// server already: they would share the names of sessions in sysfs.
    pub fn start(port: u16, service: Arc<dyn Service>) -> Result<Self> {
        let limits = params::limits()?;
        let offer = rtrs::ConnAccept::from_limits(limits, params::always_invalidate())
            .map_err(|reason| Error::from_errno(-reason.errno()))?;
        let class = Class::new(c"rtrs-server")?;
        let queues = [
            OwnedWorkqueue::new(c"rtrs_server", WorkqueueKind::Unbound)?,
            OwnedWorkqueue::new(c"rtrs_server_requests", WorkqueueKind::Urgent)?,
        ];
        let [queue, requests] = queues.each_ref().map(OwnedWorkqueue::handle);
        let shared = Arc::pin_init(
            pin_init!(Shared {
                service,
                limits,
                offer,
                queue,
                requests,
                table <- new_mutex!(PathTable::new(class), "rtrs_server_table"),
                left <- new_condvar!("rtrs_server_left"),
            }),
            GFP_KERNEL,
        )?;
        let door = Arc::new(ConnectHandler(shared.clone()), GFP_KERNEL)?;
        // With the first of them clients can be there, so dropping this must end all.
        let mut server = Self {
            listeners: [const { None }; 3],
            _queues: queues,
            shared,
        };
        let places = [
            SockAddr::any_v4(port),
            SockAddr::any_v6(port),
            SockAddr::any_gid(port),
        ];
        for (listener, place) in server.listeners.iter_mut().zip(&places) {
            *listener = Some(Listener::new(place, door.clone())?);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            drop(listener.take());
        }
        let mut table = self.shared.table.lock();
        table.close_all();
        // Only then may the queue refuse teardowns.
        while !table.is_empty() {
            self.shared.left.wait(&mut table);
        }
        let class = table.take_class();
        drop(table);
        drop(class);
    }
}

/// Who decides about connection requests.
struct ConnectHandler(Arc<Shared>);

impl AcceptHandler for ConnectHandler {
    fn incoming(&self, incoming: Incoming<'_>, private: &[u8]) {
        let ends = Endpoints {
            src: incoming.src(),
            dst: incoming.dst(),
        };
        let req = match ConnReq::parse(private) {
            Ok(req) => req,
            Err(reason) => {
                pr_err_ratelimited!("{ends}: connection refused: {}\n", Plain(reason));
                return incoming.reject(&refusal(ECONNRESET));
            }
        };
        let admitted = self
            .0
            .table
            .lock()
            .admit(&self.0, &req, incoming.device(), ends);
        match admitted {
            Ok(path) => accept(&path, &req, incoming),
            Err(e) => {
                pr_err_ratelimited!("{ends}: connection {} refused: {e:?}\n", req.id());
                incoming.reject(&refusal(e));
            }
        }
    }
}

/// Makes the connection that `req` asks for part of `path`.
fn accept(path: &Arc<Path>, req: &ConnReq, incoming: Incoming<'_>) {
    if let Err(e) = try_accept(path, req, incoming) {
        path.fail(fmt!("connection {} not made: {e:?}", req.id()));
    }
}

fn try_accept(path: &Arc<Path>, req: &ConnReq, incoming: Incoming<'_>) -> Result {
    let id = req.id();
    let shared = &path.shared;
    // The teardown of the path comes before or after all of this.
    let _joining = path.joining.lock();
    if path.is_closing() {
        incoming.reject(&refusal(ECONNRESET));
        return Err(ECONNRESET);
    }
    let config = match conn::qp_config(path, id) {
        Ok(config) => config,
        Err(e) => {
            incoming.reject(&refusal(e));
            return Err(e);
        }
    };
    let context = Conn {
        path: path.clone(),
        id,
    };
    let context = match Arc::new(context, GFP_KERNEL) {
        Ok(context) => context,
        Err(_) => {
            incoming.reject(&refusal(ENOMEM));
            return Err(ENOMEM);
        }
    };
    // Before the answer: a quick client has its next message here before this
    // function goes on.
    path.await_setup();
    let coming = path.coming.fetch_add(1, Relaxed).saturating_add(1);
    let link = incoming.accept(
        &path.pd,
        context,
        &config,
        |qp| match id {
            0 => InfoReceive::post(qp),
            _ => Ok(()),
        },
        &ConnRsp::Accept(path.offer).encode(),
        refusal,
    )?;
    path.add_link(id, link).map_err(|link| {
        // Not in the handler of its own id, where it cannot be destroyed.
        let _ = shared.queue.spawn(move || drop(link));
        EEXIST
    })?;
    if coming == path.count() {
        path.gathered.complete_all();
    }
    Ok(())
}

/// The private data to reject with.
fn refusal(e: Error) -> [u8; CONN_MSG_SIZE] {
    let errno = e.to_errno().checked_neg().unwrap_or(error::EINVAL);
    ConnRsp::Reject(errno).encode()
}
