// SPDX-License-Identifier: GPL-2.0-only

//! The paths of a session: the list, and the choice of one for each request.

use core::sync::atomic::{
    AtomicBool,
    AtomicU8,
    AtomicUsize,
    Ordering::Relaxed, //
};

use kernel::{
    prelude::*,
    sync::{
        rcu::{
            self,
            Guard, //
        },
        Arc, //
    }, //
};

use rnbd_proto::{
    limits::MAX_PATHS,
    mpath_policy::{
        self,
        MpathPolicy,
        PathLoad, //
    },
    session_identity::{
        self,
        Conflict,
        PathEnds, //
    }, //
};

use crate::{
    kernel_ext::{
        net::SockAddr,
        noio_mutex::NoIoMutex,
        percpu::PerCpu,
        rcu::RcuBox, //
    },
    new_noio_mutex,
    rdma::payload::PayloadBox, //
};

use super::{
    io_request::{
        IoRequest,
        Permit,
        SubmitResult, //
    },
    link::Link,
    path::Path,
    sysfs_dirs::{
        PathDir,
        SessionDir, //
    }, //
};

/// The set of paths.
#[pin_data]
pub(super) struct PathSet {
    /// Copy of the list for submissions, replaced under `list`.
    active: RcuBox<KVec<Arc<Path>>>,
    #[pin]
    list: NoIoMutex<PathList>,
    /// Takes no more paths. Set under `list`.
    closed: AtomicBool,
    policy: AtomicU8,
    /// Where round-robin goes on.
    next: PerCpu<AtomicUsize>,
}

/// The list, and the directories in sysfs.
struct PathList {
    paths: KVec<Arc<Path>>,
    dir: Option<SessionDir>,
}

impl PathList {
    fn remove(&mut self, path: &Arc<Path>) -> bool {
        let before = self.paths.len();
        self.paths.retain(|other| !Arc::ptr_eq(other, path));
        self.paths.len() < before
    }
}

impl PathSet {
    /// Makes an empty set.
    pub(super) fn new(policy: MpathPolicy) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            active: RcuBox::new(),
            list <- new_noio_mutex!(
                PathList { paths: KVec::new(), dir: None },
                "rtrs_session_paths"
            ),
            closed: AtomicBool::new(false),
            policy: AtomicU8::new(policy.number()),
            next: PerCpu::new(|| AtomicUsize::new(0))?,
        })
    }

    /// Takes the directory of the session, in which paths are shown from now on.
    pub(super) fn set_dir(&self, dir: SessionDir) {
        self.list.lock().dir = Some(dir);
    }

    /// Adds `path`, which leads from `src` to `dst`. Requests find it once it is connected.
    ///
    /// # Errors
    ///
    /// `ESHUTDOWN` after [`PathSet::close`], `EEXIST` for a second path between the two
    /// addresses, `ENOSPC` for one too many.
    pub(super) fn add(&self, path: &Arc<Path>, src: Option<&SockAddr>, dst: &SockAddr) -> Result {
        let mut list = self.list.lock();
        if self.is_closed() {
            return Err(ESHUTDOWN);
        }
        if list.paths.iter().any(|other| other.matches(src, dst)) {
            return Err(EEXIST);
        }
        if list.paths.len() >= MAX_PATHS {
            return Err(ENOSPC);
        }
        list.paths.push(path.clone(), GFP_KERNEL)?;
        self.publish(&list)
    }

    /// Checks that the paths `given` by a user, and a port, are those of this set, whose paths
    /// lead to `known_port`.
    pub(super) fn check_identity(
        &self,
        given: &[PathEnds],
        port: Option<u16>,
        known_port: u16,
    ) -> core::result::Result<(), Conflict> {
        let list = self.list.lock();
        let known = list.paths.iter().filter_map(|path| path.ends());
        session_identity::check(given, port, known_port, known)
    }

    /// Creates the directory of a path, or renames it if an address has become known.
    pub(super) fn show(&self, path: &Arc<Path>) -> Result {
        let shown = match self.list.lock().dir.as_mut() {
            Some(dir) => dir.show(path),
            None => Err((ESHUTDOWN, None)),
        };
        // Without the lock: it waits for callbacks, which may wait for the lock.
        shown.map_err(|(e, rest)| {
            drop(rest);
            e
        })
    }

    /// Takes a path that is shut down out of the set. The caller drops its directory without
    /// locks, as that waits for callbacks.
    pub(super) fn remove(&self, path: &Arc<Path>) -> Option<PathDir> {
        let mut list = self.list.lock();
        if list.remove(path) && self.publish(&list).is_err() {
            // No memory for a shorter list. The longer one does no harm, as a path that is
            // down is not chosen.
            pr_warn!("{path}: removed, but its memory is kept until the session closes\n");
        }
        list.dir.as_mut().and_then(|dir| dir.hide(path))
    }

    /// Closes the set for new paths; returns the present ones, and the directory.
    pub(super) fn close(&self) -> (KVec<Arc<Path>>, Option<SessionDir>) {
        let mut list = self.list.lock();
        self.closed.store(true, Relaxed);
        (core::mem::take(&mut list.paths), list.dir.take())
    }

    /// Drops the copy of the list, once all paths are shut down.
    pub(super) fn clear(&self) {
        drop(self.active.replace(None));
    }

    /// Whether [`PathSet::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn publish(&self, list: &PathList) -> Result {
        let mut active = KVec::with_capacity(list.paths.len(), GFP_KERNEL)?;
        for path in &list.paths {
            active.push(path.clone(), GFP_KERNEL)?;
        }
        let active = KBox::new(active, GFP_KERNEL)?;
        drop(self.active.replace(Some(active)));
        Ok(())
    }

    /// Makes all paths apply a changed limit of reconnect attempts.
    pub(super) fn max_attempts_changed(&self) {
        for path in &self.list.lock().paths {
            path.max_attempts_changed();
        }
    }

    /// Returns the policy that chooses paths.
    #[inline]
    pub(super) fn policy(&self) -> MpathPolicy {
        MpathPolicy::from_number(self.policy.load(Relaxed)).unwrap_or_default()
    }

    pub(super) fn set_policy(&self, policy: MpathPolicy) {
        self.policy.store(policy.number(), Relaxed);
    }

    /// Returns the paths, for submissions.
    #[inline]
    fn active<'a>(&'a self, section: &'a Guard) -> Option<&'a KVec<Arc<Path>>> {
        self.active.get(section)
    }

    /// Sends a request by the path that the policy chooses; `ENOTCONN` if there is none. A
    /// link carries I/O if it came up in `open_epoch`, and control messages while it is
    /// alive.
    pub(super) fn submit(&self, request: IoRequest, open_epoch: u64) -> SubmitResult {
        let section = rcu::read_lock();
        let Some(paths) = self.active(&section) else {
            return Err((request, ENOTCONN));
        };
        let start = self.start(paths.len());
        match self.submit_from(paths, start, request, open_epoch, &section) {
            // By itself, as the compiler copies what other results have.
            Ok(()) => Ok(()),
            // The path was lost after it was chosen.
            Err((request, e)) if e == ENOTCONN => {
                self.submit_by_another(paths, start, request, open_epoch, &section)
            }
            failed => failed,
        }
    }

    /// Returns the index of the path at which the search for one begins.
    #[inline]
    fn start(&self, count: usize) -> usize {
        match count {
            0 | 1 => 0,
            _ => self
                .next
                .this()
                .map_or(0, |next| next.fetch_add(1, Relaxed)),
        }
    }

    /// Sends a request as [`PathSet::submit`] does after a path was lost, while others are left.
    #[cold]
    #[inline(never)]
    fn submit_by_another(
        &self,
        paths: &KVec<Arc<Path>>,
        start: usize,
        mut request: IoRequest,
        open_epoch: u64,
        section: &Guard,
    ) -> SubmitResult {
        for attempt in 1..paths.len() {
            let start = start.wrapping_add(attempt);
            match self.submit_from(paths, start, request, open_epoch, section) {
                Err((back, e)) if e == ENOTCONN => request = back,
                other => return other,
            }
        }
        Err((request, ENOTCONN))
    }

    /// Sends a request by the path that the policy chooses in a search that begins at `start`.
    // Into the one caller that is not cold, which it would pass the result to in memory.
    #[inline(always)]
    fn submit_from(
        &self,
        paths: &KVec<Arc<Path>>,
        start: usize,
        mut request: IoRequest,
        open_epoch: u64,
        section: &Guard,
    ) -> SubmitResult {
        let control = request.control;
        let usable = |path| usable_link(path, control, open_epoch, section);
        let load = |index: usize| {
            let path = paths.get(index)?;
            let link = usable(path)?;
            Some(PathLoad {
                inflight: path.stats().inflight(),
                latency_ns: link.state().heartbeat().latency_ns(),
            })
        };
        let chosen = match paths.len() {
            // There is nothing to choose.
            1 => {
                request.compared = false;
                paths.first()
            }
            count => {
                let policy = self.policy();
                request.compared = policy == MpathPolicy::MinInflight;
                mpath_policy::choose(policy, count, start, load).and_then(|index| paths.get(index))
            }
        };
        let Some((path, link)) = chosen.and_then(|path| Some((path, usable(path)?))) else {
            return Err((request, ENOTCONN));
        };
        match request.lost_paths {
            0 => link.submit(request),
            _ => fail_over(path, link, request),
        }
    }

    /// Handles completions of polled queue `number` on all paths; returns how many.
    pub(super) fn poll(&self, number: u32) -> u32 {
        let section = rcu::read_lock();
        let Some(paths) = self.active(&section) else {
            return 0;
        };
        let links = paths.iter().filter_map(|path| path.link(&section));
        links
            .map(|link| link.poll(number))
            .fold(0, u32::saturating_add)
    }

    /// Counts one more timeout of a request; see
    /// [`Session::count_timeout`](super::Session::count_timeout).
    pub(super) fn count_timeout(&self, permit: Permit) -> u32 {
        let section = rcu::read_lock();
        let paths = self.active(&section).into_iter().flatten();
        paths
            .filter_map(|path| path.link(&section)?.count_timeout(permit))
            .max()
            .unwrap_or(0)
    }

    /// Whether each path has a link.
    pub(super) fn all_up(&self) -> bool {
        let section = rcu::read_lock();
        let mut paths = self.active(&section).into_iter().flatten();
        paths.all(|path| path.link(&section).is_some())
    }

    /// Withdraws a request; see [`Session::withdraw`](super::Session::withdraw).
    pub(super) fn withdraw(
        &self,
        permit: Permit,
        mut stand_in: PayloadBox,
    ) -> core::result::Result<(), PayloadBox> {
        let section = rcu::read_lock();
        let paths = self.active(&section).into_iter().flatten();
        for link in paths.filter_map(|path| path.link(&section)) {
            match link.withdraw(permit, stand_in) {
                Ok(()) => return Ok(()),
                Err(back) => stand_in = back,
            }
        }
        Err(stand_in)
    }

    /// Fails the links of all paths because of `why`.
    pub(super) fn fail_links(&self, why: &str) {
        let section = rcu::read_lock();
        let paths = self.active(&section).into_iter().flatten();
        for path in paths {
            path.fail_link(why);
        }
    }
}

/// Sends a request by `link`, which is that of `path`, after another path was lost.
#[cold]
#[inline(never)]
fn fail_over(path: &Path, link: &Link, request: IoRequest) -> SubmitResult {
    let sent = link.submit(request);
    if !matches!(sent, Err((_, e)) if e == ENOTCONN) {
        path.stats().failed_over();
    }
    sent
}

/// Returns the link of `path` if it may carry a request; see [`PathSet::submit`].
#[inline]
fn usable_link<'a>(
    path: &'a Path,
    control: bool,
    open_epoch: u64,
    section: &'a Guard,
) -> Option<&'a Link> {
    let link = path.link(section)?;
    let usable = match control {
        true => link.state().is_alive(),
        false => link.state().carries_io(open_epoch),
    };
    usable.then_some(link)
}
