// SPDX-License-Identifier: GPL-2.0-only

//! A session with a server: what the block driver sees of the transport.
//!
//! Lock order: `Session::control` → nothing of this module below it.

use super::connect;
use super::path;
use super::path::Path;
use super::request::Req;
use crate::impl_has_task;
use crate::new_task;
use crate::rdma::io::IoBox;
use crate::rdma::io::LinearIo;
use crate::rdma::io::LinearRef;
use crate::rdma::sg::MAX_SEGMENTS;
use crate::support::cpu;
use crate::support::log::Plain;
use crate::support::net::SockAddr;
use crate::support::queue::Kind;
use crate::support::queue::OwnedQueue;
use crate::support::task;
use crate::support::task::Task;
use crate::support::task::TaskItem;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::AcqRel;
use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::time::Delta;
use rnbd_proto::text::path_addr::PathAddr;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rtrs::Accept;

/// Message ids that are kept for control messages.
const CONTROL_PERMITS: u32 = 1;

/// How long a control message may take.
const CONTROL_TIMEOUT: Delta = Delta::from_secs(30);

/// Which way the data of a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// From the server, or no data at all where the length is 0.
    Read,
    /// To the server, or a message without data.
    Write,
}

/// The right to have one request in flight: a message id below
/// [`Session::io_depth`] that nobody else uses at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(u32);

impl Permit {
    /// For I/O: a number that is unique among the requests in flight.
    pub fn new(id: u32) -> Self {
        Self(id)
    }
}

/// Who is told what happens to a session.
pub trait Events: Send + Sync {
    /// The session lost its last path: what was in flight has ended with an
    /// error, new requests fail at once. Called once, in a worker.
    fn disconnected(&self);
}

/// What a session is to be.
pub struct SessionConfig<'a> {
    /// Identifies it on both sides.
    pub name: SessName<'a>,
    /// Where the server is; the first one that can be reached is taken.
    pub paths: &'a [PathAddr<'a>],
    /// The server's port.
    pub port: u16,
    /// Connections for polled I/O; must be 0 in this version.
    pub nr_poll_queues: u32,
}

/// Receives, in any context, the news that a path is lost, and passes it to
/// the session in a worker.
///
/// Paths refer to this and not to the session, which owns them.
#[pin_data]
pub(super) struct Watch {
    name: CString,
    #[pin]
    lost: Task<Watch, 0>,
    #[pin]
    session: Mutex<Option<Arc<Session>>>,
}

impl_has_task! { impl HasTask<0> for Watch { self.lost } }

impl Watch {
    /// See [`path::Shared::fail`].
    pub(super) fn report(self: &Arc<Self>, why: &str) {
        pr_warn!("{}: path lost: {why}\n", &*self.name);
        task::schedule::<_, 0>(self);
    }
}

impl TaskItem<0> for Watch {
    fn run(this: Arc<Self>) {
        let session = this.session.lock().take();
        if let Some(session) = session {
            session.lost();
        }
    }
}

/// A session. Dropping it needs [`Session::close`] before.
#[pin_data]
pub struct Session {
    name: CString,
    accept: Accept,
    path: Path,
    src: SockAddr,
    dst: SockAddr,
    events: Arc<dyn Events>,
    /// Serialises control messages, which share one message id.
    #[pin]
    control: Mutex<()>,
    /// Whether somebody has begun to shut down; the others wait for `shut`.
    closing: AtomicBool,
    #[pin]
    shut: crate::support::completion::Completion,
    #[pin]
    heartbeat: Task<Session, 1>,
    watch: Arc<Watch>,
    // Last, as it waits for the tasks above.
    _queue: OwnedQueue,
}

impl_has_task! { impl HasTask<1> for Session { self.heartbeat } }

impl TaskItem<1> for Session {
    fn run(this: Arc<Self>) {
        if this.path.beat() {
            task::schedule_in::<_, 1>(&this, path::beat_interval());
        }
    }
}

impl Session {
    /// Connects to a server. Takes up to 30 s for each step; killable.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` when there is no way to the server, `ECONNREFUSED` when
    /// nobody listens there, else what the server refused with.
    pub fn open(config: &SessionConfig<'_>, events: Arc<dyn Events>) -> Result<Arc<Self>> {
        if config.nr_poll_queues > 0 {
            pr_err!(
                "{}: poll queues are not supported yet\n",
                Plain(config.name)
            );
            return Err(EOPNOTSUPP);
        }
        let name = Plain(config.name);
        let queue = OwnedQueue::new(c"rtrs_client", Kind::Unbound)?;
        let handle = queue.handle();
        let watch = Arc::pin_init(
            try_pin_init!(Watch {
                name: CString::try_from_fmt(fmt!("{name}"))?,
                lost <- new_task!(handle, "rtrs_path_lost"),
                session <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let mut outcome = Err(EINVAL);
        for addr in config.paths {
            let src = addr
                .src
                .as_ref()
                .map(|src| SockAddr::new(src, 0))
                .transpose()?;
            let dst = SockAddr::new(&addr.dst, config.port)?;
            outcome = connect::connect(config.name, src.as_ref(), &dst, watch.clone());
            match &outcome {
                Ok(_) => break,
                Err(e) => pr_err!("{name}: connecting to {dst} failed: {e:?}\n"),
            }
        }
        let (path, accept) = outcome?;
        let (src, dst) = match path.connections.first() {
            Some(control) => (control.src(), control.dst()),
            None => return Err(EIO),
        };
        let handle = queue.handle();
        let session = Arc::pin_init(
            try_pin_init!(Self {
                name: CString::try_from_fmt(fmt!("{name}"))?,
                accept,
                path,
                src,
                dst,
                events,
                control <- new_mutex!(()),
                closing: AtomicBool::new(false),
                shut <- crate::support::completion::Completion::new(),
                heartbeat <- new_task!(handle, "rtrs_heartbeat"),
                watch,
                _queue: queue,
            }),
            GFP_KERNEL,
        )?;
        *session.watch.session.lock() = Some(session.clone());
        if !session.is_connected() {
            // Lost before it could be told.
            session.close();
            return Err(ECONNRESET);
        }
        task::schedule_in::<_, 1>(&session, path::beat_interval());
        pr_info!(
            "{name}: connected {src}@{dst}, {} connections, queue depth {}, up to {} bytes a request\n",
            session.path.connections.len(),
            session.queue_depth(),
            session.max_io_size()
        );
        Ok(session)
    }

    /// Disconnects and waits until each request in flight was told its end.
    ///
    /// After this nothing calls back. Idempotent; sleeps.
    pub fn close(self: &Arc<Self>) {
        drop(self.watch.session.lock().take());
        task::stop_sync::<_, 0>(&self.watch);
        self.shut_down();
    }

    /// The path is lost: as `close`, but tell the owner.
    fn lost(self: &Arc<Self>) {
        self.shut_down();
        self.events.disconnected();
    }

    fn shut_down(self: &Arc<Self>) {
        if self.closing.swap(true, AcqRel) {
            self.shut.wait();
            return;
        }
        self.path.shared.retire();
        // A pending one owns the session, which would then end in its own
        // queue.
        task::stop_sync::<_, 1>(self);
        self.path.shut_down();
        self.shut.complete_all();
    }

    /// Whether requests can be made at this moment.
    pub fn is_connected(&self) -> bool {
        self.path.shared.is_alive()
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Message ids of the session.
    pub fn queue_depth(&self) -> u32 {
        u32::from(self.accept.queue_depth().get())
    }

    /// Those that are for I/O, from 0.
    pub fn io_depth(&self) -> u32 {
        self.queue_depth().saturating_sub(CONTROL_PERMITS).max(1)
    }

    /// The most bytes of data in one request.
    pub fn max_io_size(&self) -> u32 {
        self.accept.max_io_size()
    }

    /// The most segments of one request.
    pub fn max_segments(&self) -> u16 {
        MAX_SEGMENTS as u16
    }

    /// Prints the path as `src@dst`.
    pub fn path_name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}@{}", self.src, self.dst)
    }

    /// Sends a request with the user message `msg` and `len` bytes of data.
    /// Does not sleep. `io` is told the end, or given back when there is an
    /// error right away.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` without a connection, `EBUSY` when the permit is in use,
    /// `EINVAL` or `EMSGSIZE` for sizes that do not fit, `ENOMEM` when the
    /// device has no room.
    pub fn submit(
        &self,
        dir: Dir,
        permit: Permit,
        msg: &[u8],
        len: u32,
        io: IoBox,
    ) -> core::result::Result<(), (IoBox, Error)> {
        let shared = &self.path.shared;
        let connection = self.path.connection_for(cpu::current());
        let (Some(table), Some(chunks), Some(connection)) =
            (shared.table.as_ref(), shared.chunks.as_ref(), connection)
        else {
            return Err((io, ENOTCONN));
        };
        if !shared.is_alive() {
            return Err((io, ENOTCONN));
        }
        let index = permit.0 as usize;
        let (Some(request), Some(chunk)) = (table.requests.get(index), chunks.get(index)) else {
            return Err((io, EINVAL));
        };
        if len > self.max_io_size() {
            return Err((io, EMSGSIZE));
        }
        let Some(idle) = request.begin() else {
            return Err((io, EBUSY));
        };
        let submitted = Req::submit(
            idle,
            &connection.qp(),
            table.layout,
            chunk,
            self.path.data_sges,
            dir,
            msg,
            len,
            io,
        );
        match submitted {
            Err((Some(io), e)) => Err((io, e)),
            _ => Ok(()),
        }
    }

    /// Sends a control message and waits for the answer, whose data goes to
    /// `reply`; answers how much of it that is. At most 30 s; killable.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, those of [`Session::submit`], or what the server answered.
    pub fn call(&self, dir: Dir, msg: &[u8], reply: &mut [u8]) -> Result<usize> {
        let _one_at_a_time = self.control.lock();
        let len = u32::try_from(reply.len())?;
        let io = LinearIo::new(len)?;
        let permit = Permit(self.queue_depth().saturating_sub(CONTROL_PERMITS));
        self.submit(dir, permit, msg, len, IoBox::new(LinearRef(io.clone())))
            .map_err(|(_, e)| e)?;
        io.wait(CONTROL_TIMEOUT, reply)?;
        Ok(reply.len())
    }
}
