// SPDX-License-Identifier: GPL-2.0-only

//! The session as the owner of its paths: adding and removing them, and the consequences of a
//! path that comes up or is lost.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use rnbd_proto::{
    async_event::EventCount,
    session_state::{
        Epoch,
        PathAvailability,
        SessionState, //
    },
    text::path_addr::PathAddr, //
};

use crate::{
    client::{
        io_request::IoRequest,
        negotiated::PathLimits,
        path::{
            Path,
            PathOwner, //
        },
        requeue_list::StateChange,
        scoped_addr::ScopedAddr,
        session_params::SessionParams, //
    },
    impl_has_owned_work,
    kernel_ext::{
        log::Plain,
        net,
        trace::{
            self,
            Side, //
        },
        work::{
            self,
            OwnedWorkItem, //
        }, //
    }, //
};

use super::{
    Session,
    FAIL_QUEUED, //
};

impl Session {
    /// Makes a path and adds it to the set.
    pub(super) fn new_path(self: &Arc<Self>, addr: &PathAddr<'_>) -> Result<Arc<Path>> {
        let src = addr.src.as_ref().map(|src| ScopedAddr::new(src, 0));
        let src = src.transpose()?;
        let dst = ScopedAddr::new(&addr.dst, self.params.port())?;
        let path = Path::new(self.clone(), &self.queue.handle(), src, dst)?;
        let src = src.as_ref().map(ScopedAddr::addr);
        self.paths.add(&path, src, dst.addr())?;
        Ok(path)
    }

    /// Checks that the calling task is in the network namespace that all connections are made
    /// in.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, with a line in the log.
    pub(super) fn check_namespace(&self) -> Result {
        if net::is_caller_in_init_net() {
            return Ok(());
        }
        pr_err!(
            "{}: connections are made in the initial network namespace, and this is another one; write from there, as with nsenter --net=/proc/1/ns/net\n",
            self.name()
        );
        Err(EOPNOTSUPP)
    }

    /// Adds a path while the session is in use.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` from another network namespace than the initial one. Otherwise
    /// those of [`PathSet::add`](crate::client::path_set::PathSet::add), or of
    /// [`Session::open`].
    pub(in crate::client) fn add_path(self: &Arc<Self>, addr: &PathAddr<'_>) -> Result {
        self.check_namespace()?;
        let path = self.new_path(addr)?;
        let connected = path.connect_first().and_then(|()| self.paths.show(&path));
        if connected.is_err() {
            self.remove_path(&path);
        } else {
            self.reopen_devices(&path);
        }
        connected
    }

    /// Sets how long I/O waits for a path, in seconds; negative: without end. What waits
    /// already waits that long from now.
    pub(in crate::client) fn set_fast_io_fail_tmo(self: &Arc<Self>, seconds: i32) {
        self.params.set_fast_io_fail_tmo(seconds);
        self.start_fail_timer();
    }

    /// Starts the time after which waiting I/O fails.
    fn start_fail_timer(self: &Arc<Self>) {
        let seconds = self.params.fast_io_fail_tmo();
        if seconds < 0 {
            work::cancel_sync::<_, FAIL_QUEUED>(self);
        } else {
            work::reschedule_in::<_, FAIL_QUEUED>(self, Delta::from_secs(seconds.into()));
        }
    }

    fn trace_state(&self, change: &StateChange) {
        if change.after != change.before {
            let now = change.after;
            trace::session(Side::Client, self.name(), &Plain(format_args!("{now:?}")));
        }
    }

    /// Records that the server knows the devices.
    pub(super) fn mark_reopened(&self, epoch: Epoch) {
        let change = self.requeue_list.mark_reopened(epoch);
        self.trace_state(&change);
    }

    /// Has the devices opened again, if the server forgot them, as `path` is up. Returns false
    /// if that failed, or the task is being killed; the link of the path is given up.
    fn reopen_devices(self: &Arc<Self>, path: &Path) -> bool {
        let result = self.try_reopen_devices();
        if let Err(e) = result {
            pr_err!("{path}: opening the devices again failed: {e:?}\n");
            path.fail_link("devices are not open");
        }
        result.is_ok()
    }

    fn try_reopen_devices(self: &Arc<Self>) -> Result {
        let _reopening = self.reopening.lock_killable()?;
        if let Some(epoch) = self.requeue_list.reopen_due() {
            self.events.clone().reconnected(self)?;
            self.mark_reopened(epoch);
            self.kick_requeue_list();
        }
        Ok(())
    }
}

impl PathOwner for Session {
    fn params(&self) -> &SessionParams {
        &self.params
    }

    fn has_path_up(&self) -> bool {
        self.requeue_list.is_up()
    }

    fn adopt_limits(&self, limits: PathLimits) -> Result {
        if self.params.queue_depth() == 0 {
            self.requeue_list.allocate(limits.depth.into())?;
            self.params.set_limits(limits);
        }
        Ok(())
    }

    fn availability_changed(self: Arc<Self>, path: &Path, to: PathAvailability) {
        let change = self.requeue_list.set_availability(path.availability(), to);
        if to == PathAvailability::Up {
            path.set_epoch(change.epoch);
        }
        self.trace_state(&change);
        let lost = change.before == SessionState::Live && change.after != SessionState::Live;
        if lost && !self.paths.is_closed() {
            self.events
                .disconnected(change.after == SessionState::Queueing);
            self.start_fail_timer();
        }
        self.kick_requeue_list();
    }

    fn path_reconnected(self: Arc<Self>, path: &Arc<Path>) -> bool {
        if let Err(e) = self.paths.show(path) {
            pr_warn!("{path}: creating its directory in sysfs failed: {e:?}\n");
        }
        let reopened = self.reopen_devices(path);
        if reopened && self.paths.all_up() {
            self.events.all_paths_up();
        }
        reopened
    }

    fn resend(self: Arc<Self>, request: IoRequest) {
        self.resend_request(request);
    }

    fn event_count_received(self: Arc<Self>, count: EventCount) {
        self.note_event_count(count);
    }

    fn remove_path(&self, path: &Arc<Path>) {
        // First, as `close` waits for the paths that are in the list. Another task may be
        // doing the same.
        path.shut_down();
        // Dropping the directory waits for callbacks.
        drop(self.paths.remove(path));
    }
}

impl_has_owned_work! { impl HasOwnedWork<FAIL_QUEUED> for Session { self.fail_queued } }

impl OwnedWorkItem<FAIL_QUEUED> for Session {
    fn run(this: Arc<Self>) {
        let change = this.requeue_list.expire();
        this.trace_state(&change);
        if (change.before, change.after) == (SessionState::Queueing, SessionState::Failing) {
            pr_warn!(
                "{}: no path within fast_io_fail_tmo, I/O fails until one is up\n",
                this.name()
            );
            this.kick_requeue_list();
        }
    }
}
