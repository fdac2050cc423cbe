// SPDX-License-Identifier: GPL-2.0-only

//! The paths of a session: which there are, and what follows when one comes up or
//! is lost.

use super::path::Path;
use super::session::Admin;
use super::session::Session;
use super::session::OVERDUE;
use crate::impl_has_owned_work;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::noio::NoIoScope;
use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Side;
use crate::kernel_ext::work;
use crate::kernel_ext::work::OwnedWorkItem;
use core::sync::atomic::Ordering::Relaxed;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::Delta;
use rnbd_proto::limits::MAX_PATHS;
use rnbd_proto::session_state::Epoch;
use rnbd_proto::session_state::PathAvailability;
use rnbd_proto::session_state::SessionState;
use rnbd_proto::text::path_addr::PathAddr;

impl Session {
    /// Makes a path, and lets I/O find it once it is connected.
    pub(super) fn new_path(self: &Arc<Self>, addr: &PathAddr<'_>) -> Result<Arc<Path>> {
        let src = addr.src.as_ref().map(|src| SockAddr::new(src, 0));
        let src = src.transpose()?;
        let dst = SockAddr::new(&addr.dst, self.port)?;
        let path = Path::new(self, src, dst)?;
        let mut admin = self.admin.lock();
        if self.closed.load(Relaxed) {
            return Err(ESHUTDOWN);
        }
        if admin
            .paths
            .iter()
            .any(|other| other.is_to(src.as_ref(), &dst))
        {
            return Err(EEXIST);
        }
        if admin.paths.len() >= MAX_PATHS {
            return Err(ENOSPC);
        }
        admin.paths.push(path.clone(), GFP_KERNEL)?;
        self.publish(&admin)?;
        Ok(path)
    }

    /// Shows the files of a path, or what has become known of it since they were made.
    pub(super) fn show(&self, path: &Arc<Path>) -> Result {
        let mut admin = self.admin.lock();
        match admin.files.as_mut() {
            Some(files) => files.show(path),
            None => Err(ESHUTDOWN),
        }
    }

    /// Adds a path while the session is in use.
    ///
    /// # Errors
    ///
    /// `EEXIST` when there is one, `ENOSPC` for one too many, else as
    /// [`Session::open`].
    pub(super) fn add_path(self: &Arc<Self>, addr: &PathAddr<'_>) -> Result {
        let path = self.new_path(addr)?;
        let connected = path.connect_first().and_then(|()| self.show(&path));
        if connected.is_err() {
            self.drop_path(&path);
        } else {
            self.introduce(&path);
        }
        connected
    }

    /// Takes a path out and down. False if it is out already.
    pub(super) fn drop_path(&self, path: &Arc<Path>) -> bool {
        // First, as who closes the session waits for the paths that are in the list.
        // Another one may be doing the same.
        path.remove();
        let (found, files) = {
            let mut admin = self.admin.lock();
            let before = admin.paths.len();
            admin.paths.retain(|other| !Arc::ptr_eq(other, path));
            let found = admin.paths.len() < before;
            if found && self.publish(&admin).is_err() {
                // No memory for a shorter list: the longer one does as well, as
                // a path that is down is not chosen.
                pr_warn!("{path}: removed without being forgotten\n");
            }
            (
                found,
                admin.files.as_mut().and_then(|files| files.hide(path)),
            )
        };
        // Waits for callbacks, so without the lock.
        drop(files);
        found
    }

    fn publish(&self, admin: &Admin) -> Result {
        let mut list = KVec::with_capacity(admin.paths.len(), GFP_KERNEL)?;
        for path in &admin.paths {
            list.push(path.clone(), GFP_KERNEL)?;
        }
        let list = KBox::new(list, GFP_KERNEL)?;
        drop(self.paths.replace(Some(list)));
        Ok(())
    }

    /// A path has another standing, which may let I/O go on or fail.
    pub(super) fn path_changed(self: &Arc<Self>, path: &Path, to: PathAvailability) {
        let change = self.desk.change(&path.standing, to);
        if to == PathAvailability::Up {
            path.came_up(change.epoch);
        }
        self.trace_flow(change.before);
        let lost = change.before == SessionState::Live && change.after != SessionState::Live;
        if lost && !self.closed.load(Relaxed) {
            self.events
                .disconnected(change.after == SessionState::Queueing);
            self.limit_waiting();
        }
        self.kick();
    }

    /// What becomes of I/O may have changed.
    fn trace_flow(&self, before: SessionState) {
        let now = self.desk.view().flow();
        if now != before {
            trace::session(Side::Client, &self.name, &Plain(format_args!("{now:?}")));
        }
    }

    /// I/O waits from now on: sees to it that this has an end.
    pub(super) fn limit_waiting(self: &Arc<Self>) {
        let seconds = self.fail_io_after.load(Relaxed);
        if seconds < 0 {
            work::cancel_sync::<_, OVERDUE>(self);
        } else {
            work::reschedule_in::<_, OVERDUE>(self, Delta::from_secs(seconds.into()));
        }
    }

    /// The server knows all that it must.
    pub(super) fn introduced(&self, epoch: Epoch) {
        let before = self.desk.view().flow();
        self.desk.introduced(epoch);
        self.trace_flow(before);
    }

    /// `path` is up: tells the server what it forgot, if it did. False if that failed,
    /// and the path is of no use.
    pub(super) fn introduce(self: &Arc<Self>, path: &Path) -> bool {
        // I/O may be waiting for this.
        let _no_io = NoIoScope::begin();
        let _one_at_a_time = self.introducing.lock();
        let Some(epoch) = self.desk.introduction() else {
            return true;
        };
        match self.events.reconnected(self) {
            Ok(()) => {
                self.introduced(epoch);
                self.kick();
                true
            }
            Err(e) => {
                pr_err!("{path}: the server cannot be told of the devices: {e:?}\n");
                path.give_up("devices are not open");
                false
            }
        }
    }
}

impl_has_owned_work! { impl HasOwnedWork<OVERDUE> for Session { self.overdue } }

impl OwnedWorkItem<OVERDUE> for Session {
    fn run(this: Arc<Self>) {
        let change = this.desk.expire();
        this.trace_flow(change.before);
        if (change.before, change.after) == (SessionState::Queueing, SessionState::Failing) {
            pr_warn!("{}: no path for too long, I/O fails\n", &*this.name);
            this.kick();
        }
    }
}
