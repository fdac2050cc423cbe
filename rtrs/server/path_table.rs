// SPDX-License-Identifier: GPL-2.0-only

//! All paths of a server, and through them its sessions.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use rnbd_proto::path_state::ServerState;
use rnbd_proto::quota::PathUsage;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rtrs::ConnReq;

use super::listen::Shared;
use super::params;
use super::path::Endpoints;
use super::path::Path;
use super::session::Session;
use crate::kernel_ext::class::Class;
use crate::kernel_ext::log::Plain;
use crate::pr_err_ratelimited;
use crate::rdma::pd::CmDevice;
use crate::rdma::pd::Pd;

/// Every path from its first connection to the end of its teardown.
pub(super) struct PathTable {
    open: bool,
    /// Where sysfs shows the sessions; there as long as there can be paths.
    class: Option<Class>,
    paths: KVec<Arc<Path>>,
    /// Completion vector that the next path begins with, of however many there are.
    next_vector: u32,
}

impl PathTable {
    pub(super) const fn new(class: Class) -> Self {
        Self {
            open: true,
            class: Some(class),
            paths: KVec::new(),
            next_vector: 0,
        }
    }

    /// The path that a connection request belongs to, which may be a new one.
    ///
    /// # Errors
    ///
    /// - `ENXIO` when the session is unknown and not to be created;
    /// - `EEXIST` when the session has another path between these hosts;
    /// - `ENOSPC` for one too many, with a line in the log that says of what;
    /// - `ECONNRESET` when the request does not fit the path.
    pub(super) fn admit(
        &mut self,
        shared: &Arc<Shared>,
        req: &ConnReq,
        device: Result<CmDevice<'_>>,
        ends: Endpoints,
    ) -> Result<Arc<Path>> {
        if !self.open {
            return Err(ECONNRESET);
        }
        let known = self.paths.iter().find(|path| {
            let known = path.req();
            path.session.is(req.session())
                && known.path() == req.path()
                && known.reconnects() == req.reconnects()
        });
        if let Some(path) = known {
            let fits = path.state.get() == ServerState::Connecting
                && path.count() == req.count()
                // What the service decides by the peer's address is true of all.
                && path.ends().same_hosts(&ends)
                && path.req().inline_imm() == req.inline_imm()
                && path.req().short_responses() == req.short_responses()
                && !path.has_link(req.id());
            return if fits {
                Ok(path.clone())
            } else {
                Err(ECONNRESET)
            };
        }
        // Clients begin with the connection for control.
        if req.id() != 0 {
            return Err(ECONNRESET);
        }
        let session = self.session_for(shared, req, &ends)?;
        let pd = Pd::new(&device?)?;
        let path = Path::new(shared, session, pd, req, ends, self.next_vector)?;
        self.next_vector = self.next_vector.wrapping_add(req.count().into());
        self.paths.push(path.clone(), GFP_KERNEL)?;
        Ok(path)
    }

    /// The session for a new path.
    fn session_for(
        &self,
        shared: &Shared,
        req: &ConnReq,
        ends: &Endpoints,
    ) -> Result<Arc<Session>> {
        let (mut session, mut replaced) = (None, None);
        for path in &self.paths {
            if !path.session.is(req.session()) {
                continue;
            }
            if path.req().path() == req.path() {
                // The client has given up this one, and we did not notice yet.
                path.close("the client connects it anew");
                // It may still be there. Only one does not count, as each has its chunks
                // until it is gone.
                replaced.get_or_insert(path);
            } else if !path.is_closing() && path.ends().same_hosts(ends) {
                return Err(EEXIST);
            }
            session = Some(path.session.clone());
        }
        self.admit_one_more(req, ends, replaced)?;
        match session {
            Some(session) => Ok(session),
            None if req.first() => Session::new(shared, req.session()),
            None => Err(ENXIO),
        }
    }

    /// Whether there may be another path, in the place of `replaced` if there is one.
    fn admit_one_more(
        &self,
        req: &ConnReq,
        ends: &Endpoints,
        replaced: Option<&Arc<Path>>,
    ) -> Result {
        let is_replaced = |path: &Arc<Path>| replaced.is_some_and(|old| Arc::ptr_eq(old, path));
        let others = self.paths.iter().filter(|path| !is_replaced(path));
        let others = others.map(|path| PathUsage {
            session: path.req().session(),
            peer: path.ends().peer(),
            connections: path.count(),
        });
        let origin = PathUsage {
            session: req.session(),
            peer: ends.peer(),
            connections: req.count(),
        };
        let admitted = params::quota().admit(others, &origin);
        admitted.map_err(|exceeded| {
            pr_err_ratelimited!("{ends}: {}\n", Plain(exceeded));
            ENOSPC
        })
    }

    /// Whether another session of that name is there, but all of it closing.
    pub(super) fn is_leaving(&self, path: &Path, name: SessName<'_>) -> bool {
        let mut namesakes = self.namesakes(path, name).peekable();
        namesakes.peek().is_some() && namesakes.all(|other| other.is_closing())
    }

    /// Whether another path of the same session is closing, and may have
    /// requests with the service.
    pub(super) fn has_closing_sibling(&self, path: &Arc<Path>) -> bool {
        self.paths.iter().any(|other| {
            Arc::ptr_eq(&other.session, &path.session)
                && !Arc::ptr_eq(other, path)
                && other.is_closing()
        })
    }

    /// Paths of other sessions of that name.
    fn namesakes<'a>(
        &'a self,
        path: &'a Path,
        name: SessName<'a>,
    ) -> impl Iterator<Item = &'a Arc<Path>> {
        self.paths.iter().filter(move |other| {
            !Arc::ptr_eq(&other.session, &path.session)
                && other.session.name().to_bytes() == name.as_bytes()
        })
    }

    /// Gives the session of `path` the name that its client wants.
    ///
    /// # Errors
    ///
    /// - `ENOTCONN` when the path is closing;
    /// - `EPERM` when another session has that name;
    /// - `EBUSY` when another path of the session is closing;
    /// - `EINVAL` when this session has another name.
    pub(super) fn claim_name(&self, path: &Arc<Path>, name: SessName<'_>) -> Result {
        if path.is_closing() {
            return Err(ENOTCONN);
        }
        if self.namesakes(path, name).next().is_some() {
            pr_err_ratelimited!("{path}: session name '{}' is in use\n", Plain(name));
            return Err(EPERM);
        }
        if self.has_closing_sibling(path) {
            pr_err_ratelimited!("{path}: requests of a lost path are still executed\n");
            return Err(EBUSY);
        }
        let session = &path.session;
        if session.name.as_ref().is_none() {
            let mut bytes = KVec::with_capacity(name.as_bytes().len() + 1, GFP_KERNEL)?;
            bytes.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
            bytes.push(0, GFP_KERNEL)?;
            let text = CStr::from_bytes_with_nul(&bytes).map_err(|_| EINVAL)?;
            session.name.populate(CString::try_from(text)?);
        }
        if session.name().to_bytes() != name.as_bytes() {
            pr_err_ratelimited!("{path}: calls itself '{}' now\n", Plain(name));
            return Err(EINVAL);
        }
        Ok(())
    }

    /// The class of the sessions.
    pub(super) fn class(&self) -> Result<Class> {
        self.class.clone().ok_or(ENODEV)
    }

    /// Takes the class, when there are no paths any more. To be dropped outside
    /// of the lock.
    pub(super) fn take_class(&mut self) -> Option<Class> {
        self.class.take()
    }

    /// Bytes of memory that the paths of `session` have for requests.
    pub(super) fn pinned(&self, session: &Arc<Session>) -> usize {
        let paths = self.paths.iter();
        paths
            .filter(|path| Arc::ptr_eq(&path.session, session))
            .map(|path| path.pinned())
            .sum()
    }

    /// Closes all paths of `session`.
    pub(super) fn close_session(&self, session: &Arc<Session>, why: &str) {
        for path in &self.paths {
            if Arc::ptr_eq(&path.session, session) {
                path.close(why);
            }
        }
    }

    /// Admits no more, and closes all there are.
    pub(super) fn close_all(&mut self) {
        self.open = false;
        for path in &self.paths {
            path.close("the server stops");
        }
    }

    /// Whether there are no paths.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Forgets a path.
    pub(super) fn remove(&mut self, path: &Arc<Path>) {
        self.paths.retain(|other| !Arc::ptr_eq(other, path));
    }
}
