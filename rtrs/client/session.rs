// SPDX-License-Identifier: GPL-2.0-only

//! A session with a server: what the block driver sees of the transport.
//!
//! Lock order: `Session::introducing` → `Session::control`; and
//! `Path::work` → the lock of `Session::desk`. `Session::admin` is held for looks
//! into the list of paths and for changing it, and nothing of the others under it.

use super::link::PathLimits;
use super::path::Path;
use super::requeue_list::RequeueList;
use super::sysfs::SessionFiles;
use super::Client;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::percpu::PerCpu;
use crate::kernel_ext::random;
use crate::kernel_ext::rcu::RcuBox;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWork;
use crate::kernel_ext::workqueue::OwnedWorkqueue;
use crate::kernel_ext::workqueue::WorkqueueHandle;
use crate::kernel_ext::workqueue::WorkqueueKind;
use crate::new_owned_work;
use crate::rdma::payload::LinearPayload;
use crate::rdma::sg::MAX_SEGMENTS;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::async_event::EventListener;
use rnbd_proto::mpath_policy::MpathPolicy;
use rnbd_proto::text::path_addr::PathAddr;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rtrs::Uuid;

/// Message ids that are kept for control messages.
pub(super) const CONTROL_PERMITS: u32 = 1;

/// Its tasks.
pub(super) const OVERDUE: u64 = 0;
pub(super) const ASYNC_EVENT: u64 = 1;
pub(super) const KICK: u64 = 2;

/// How long I/O waits for a path by default, in seconds.
const FAIL_IO_AFTER_S: i32 = 120;

/// Who is told what happens to a session.
pub trait Events: Send + Sync {
    /// The session lost its last path. If `waits`, I/O waits for one to be
    /// connected again, else it fails. In a worker.
    fn disconnected(&self, waits: bool);

    /// The session has a path again, and the server has forgotten all that it was
    /// told: tell it, by [`Session::call`]. I/O goes on after this. In a worker.
    ///
    /// With an error the path is given up, to be connected again later.
    fn reconnected(&self, session: &Arc<Session>) -> Result;

    /// The server has news of what it was told to open: ask for it, by
    /// [`Session::call`]. In a worker, one at a time; not before [`Session::listen`].
    ///
    /// With an error it is called again after the next heartbeat that brings news.
    fn async_event(&self, session: &Arc<Session>) -> Result;
}

/// What a session is to be.
pub struct SessionConfig<'a> {
    /// Identifies it on both sides.
    pub name: SessName<'a>,
    /// Where the server is. Those that cannot be reached now are tried again.
    pub paths: &'a [PathAddr<'a>],
    /// The server's port.
    pub port: u16,
    /// Connections of each path for polled I/O, beside those for the CPUs.
    pub nr_poll_queues: u32,
    /// The module of who is told what happens, and of the data of requests.
    pub user: &'static ThisModule,
}

/// A session. Dropping it needs [`Session::close`] before, as its paths refer to
/// it.
#[pin_data]
pub struct Session {
    pub(super) name: CString,
    pub(super) uuid: Uuid,
    pub(super) port: u16,
    nr_poll_queues: u32,
    /// Takes no more paths, and tells nothing any more. Set under `admin`.
    pub(super) closed: AtomicBool,
    /// What the server offered first; other paths and later links must do as well.
    depth: AtomicU32,
    max_io_size: AtomicU32,
    /// For those who choose one; published by who changes `admin`.
    pub(super) paths: RcuBox<KVec<Arc<Path>>>,
    #[pin]
    pub(super) admin: Mutex<Admin>,
    policy: AtomicU8,
    /// Where round-robin goes on.
    pub(super) turns: PerCpu<AtomicUsize>,
    max_reconnect_attempts: AtomicI32,
    /// Seconds that I/O waits for a path; negative for no end.
    pub(super) fail_io_after: AtomicI32,
    #[pin]
    pub(super) overdue: OwnedWork<Self, OVERDUE>,
    pub(super) listener: EventListener,
    #[pin]
    pub(super) news: OwnedWork<Self, ASYNC_EVENT>,
    /// Scheduled for requests that wait for room in a device.
    #[pin]
    pub(super) kick: OwnedWork<Self, KICK>,
    #[pin]
    pub(super) desk: RequeueList,
    pub(super) events: Arc<dyn Events>,
    /// Whose code `events` is.
    pub(super) user: &'static ThisModule,
    /// Serialises control messages, which share one message id. The one that uses it
    /// still, though nobody waits for its end.
    #[pin]
    pub(super) control: Mutex<Option<Arc<LinearPayload>>>,
    /// Held while the server is told what it forgot.
    #[pin]
    pub(super) introducing: Mutex<()>,
    queue: OwnedWorkqueue,
}

/// What only administration touches.
pub(super) struct Admin {
    pub(super) paths: KVec<Arc<Path>>,
    pub(super) files: Option<SessionFiles>,
}

impl Session {
    /// Connects to a server. Takes up to 30 s for each step; killable.
    ///
    /// # Errors
    ///
    /// When no path could be connected, what the last one failed with:
    /// `EHOSTUNREACH` when there is no way to the server, `ECONNREFUSED` when
    /// nobody listens there, else what the server refused with. `EEXIST` when a
    /// session of this name shows files already.
    pub fn open(
        client: &Client,
        config: &SessionConfig<'_>,
        events: Arc<dyn Events>,
    ) -> Result<Arc<Self>> {
        let name = Plain(config.name);
        let queue = OwnedWorkqueue::new(c"rtrs_client", WorkqueueKind::Unbound)?;
        let session = Arc::pin_init(
            try_pin_init!(Self {
                name: CString::try_from_fmt(fmt!("{name}"))?,
                uuid: Uuid(random::uuid()),
                port: config.port,
                nr_poll_queues: config.nr_poll_queues,
                closed: AtomicBool::new(false),
                depth: AtomicU32::new(0),
                max_io_size: AtomicU32::new(0),
                paths: RcuBox::new(),
                admin <- new_mutex!(
                    Admin { paths: KVec::new(), files: None },
                    "rtrs_session_admin"
                ),
                policy: AtomicU8::new(MpathPolicy::default().number()),
                turns: PerCpu::new(|| AtomicUsize::new(0))?,
                max_reconnect_attempts: AtomicI32::new(-1),
                fail_io_after: AtomicI32::new(FAIL_IO_AFTER_S),
                overdue <- new_owned_work!(queue.handle(), "rtrs_io_overdue"),
                listener: EventListener::new(),
                news <- new_owned_work!(queue.handle(), "rtrs_client_news"),
                kick <- new_owned_work!(queue.handle(), "rtrs_client_kick"),
                desk <- RequeueList::new(),
                events,
                user: config.user,
                control <- new_mutex!(None, "rtrs_session_control"),
                introducing <- new_mutex!((), "rtrs_session_introducing"),
                queue,
            }? Error),
            GFP_KERNEL,
        )?;
        match session.connect_all(client, config) {
            Ok(()) => Ok(session),
            Err(e) => {
                session.close();
                Err(e)
            }
        }
    }

    fn connect_all(self: &Arc<Self>, client: &Client, config: &SessionConfig<'_>) -> Result {
        let files = SessionFiles::new(client, self)?;
        self.admin.lock().files = Some(files);
        let mut outcome = Err(EINVAL);
        let mut failed = KVec::new();
        for addr in config.paths {
            let (path, e) = match self.new_path(addr).map(|path| (path.connect_first(), path)) {
                Ok((Ok(()), path)) => {
                    self.show(&path)?;
                    outcome = Ok(());
                    continue;
                }
                Ok((Err(e), path)) => (Some(path), e),
                Err(e) => (None, e),
            };
            pr_err!(
                "{}: connecting {} failed: {e:?}\n",
                &*self.name,
                Plain(addr)
            );
            if let Some(path) = path {
                self.show(&path)?;
                failed.push(path, GFP_KERNEL)?;
            }
            if outcome.is_err() {
                outcome = Err(e);
            }
        }
        outcome?;
        // The owner opens devices by itself now.
        if let Some(epoch) = self.desk.introduction() {
            self.introduced(epoch);
        }
        for path in failed {
            path.keep_trying();
        }
        Ok(())
    }

    /// Disconnects and waits until each request was told its end.
    ///
    /// After this nothing calls back. Idempotent; sleeps.
    pub fn close(self: &Arc<Self>) {
        let (paths, files) = {
            let mut admin = self.admin.lock();
            self.closed.store(true, Relaxed);
            (core::mem::take(&mut admin.paths), admin.files.take())
        };
        for path in &paths {
            path.remove();
        }
        work::stop_sync::<_, OVERDUE>(self);
        // No path is left for what it may be asking.
        work::stop_sync::<_, ASYNC_EVENT>(self);
        drop(files);
        drop(self.paths.replace(None));
        // Nothing is kept any more without a path.
        work::stop_sync::<_, KICK>(self);
        self.kick();
    }

    /// Whether this session can do with what a path offers.
    ///
    /// # Errors
    ///
    /// `EPROTO`, with a line in the log.
    pub(super) fn fits(&self, offer: PathLimits) -> Result {
        let (depth, size) = (u32::from(offer.depth), offer.max_io_size);
        let (old_depth, old_size) = (self.queue_depth(), self.max_io_size());
        if depth <= CONTROL_PERMITS {
            pr_err!(
                "{}: the path offers queue depth {depth}, and one message id is for control\n",
                &*self.name
            );
            return Err(EPROTO);
        }
        if depth < old_depth || size < old_size {
            pr_err!(
                "{}: the path offers queue depth {depth} and {size} bytes a request, less than the {old_depth} and {old_size} that the devices were made for; unmap them and map them anew\n",
                &*self.name
            );
            return Err(EPROTO);
        }
        Ok(())
    }

    /// The first path is connected: notes what it offers.
    pub(super) fn learn(&self, offer: PathLimits) -> Result {
        if self.queue_depth() == 0 {
            let depth = u32::from(offer.depth);
            self.desk.furnish(depth)?;
            self.max_io_size.store(offer.max_io_size, Relaxed);
            self.depth.store(depth, Relaxed);
        }
        Ok(())
    }

    pub(super) fn queue(&self) -> WorkqueueHandle {
        self.queue.handle()
    }

    #[inline]
    pub(super) fn policy(&self) -> MpathPolicy {
        MpathPolicy::from_number(self.policy.load(Relaxed)).unwrap_or_default()
    }

    pub(super) fn set_policy(&self, policy: MpathPolicy) {
        self.policy.store(policy.number(), Relaxed);
    }

    pub(super) fn max_reconnect_attempts(&self) -> i32 {
        self.max_reconnect_attempts.load(Relaxed)
    }

    /// Sets how often a lost path is tried again; also for those that wait already.
    pub(super) fn set_max_reconnect_attempts(&self, attempts: i32) {
        self.max_reconnect_attempts.store(attempts, Relaxed);
        for path in &self.admin.lock().paths {
            path.limit_changed();
        }
    }

    pub(super) fn sess_name(&self) -> Result<SessName<'_>> {
        SessName::new(self.name.to_bytes()).map_err(|_| EINVAL)
    }

    pub(super) fn fmt_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}:", &*self.name))
    }

    /// Whether requests can be sent at this moment.
    pub fn is_connected(&self) -> bool {
        self.desk.is_up()
    }

    /// Connections of each path for polled I/O.
    pub fn nr_poll_queues(&self) -> u32 {
        self.nr_poll_queues
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Message ids of the session.
    pub fn queue_depth(&self) -> u32 {
        self.depth.load(Relaxed)
    }

    /// Those that are for I/O, from 0.
    pub fn io_depth(&self) -> u32 {
        self.queue_depth().saturating_sub(CONTROL_PERMITS)
    }

    /// The most bytes of data in one request.
    pub fn max_io_size(&self) -> u32 {
        self.max_io_size.load(Relaxed)
    }

    /// The most segments of one request.
    pub fn max_segments(&self) -> u16 {
        MAX_SEGMENTS as u16
    }
}
