// SPDX-License-Identifier: GPL-2.0-only

//! The paths of a server, and through them its sessions.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    path_state::ServerState,
    quota::PathUsage,
    wire::{
        name::SessName,
        rtrs::ConnReq, //
    }, //
};

use crate::{
    kernel_ext::{
        class::Class,
        log::Plain, //
    },
    pr_err_ratelimited,
    rdma::{
        device::CmDevice,
        pd::Pd, //
    }, //
};

use super::{
    config::ServerConfig,
    params,
    path::{
        Endpoints,
        Path, //
    },
    session::{
        Registry,
        Session, //
    }, //
};

/// All paths, each from its first connection to the end of its teardown.
pub(super) struct PathTable {
    open: bool,
    /// The class of the sessions in sysfs; set as long as there can be paths.
    class: Option<Class>,
    paths: KVec<Arc<Path>>,
    /// First completion vector of the next path, modulo the number of vectors.
    next_vector: u32,
}

impl PathTable {
    /// Creates a table without paths. The sessions are shown in `class`.
    pub(super) const fn new(class: Class) -> Self {
        Self {
            open: true,
            class: Some(class),
            paths: KVec::new(),
            next_vector: 0,
        }
    }

    /// Returns the path that a connection request belongs to, which may be a new one.
    ///
    /// # Errors
    ///
    /// - `ENXIO` when the session is unknown and the client does not ask for a new one;
    /// - `EEXIST` when the session has another path between these hosts;
    /// - `ENOTUNIQ` when another session has the name that the client told;
    /// - `ENOSPC` when a quota is exceeded, with a line in the log that names it;
    /// - `ECONNRESET` when the request does not match the path.
    pub(super) fn admit(
        &mut self,
        registry: Arc<dyn Registry>,
        config: &Arc<ServerConfig>,
        req: &ConnReq,
        device: Result<CmDevice<'_>>,
        ends: Endpoints,
    ) -> Result<Arc<Path>> {
        if !self.open {
            return Err(ECONNRESET);
        }
        let known = self.paths.iter().find(|path| {
            let known = path.req();
            path.session().is(req.session())
                && known.path() == req.path()
                && known.reconnects() == req.reconnects()
        });
        if let Some(path) = known {
            let matches = path.state() == ServerState::Connecting
                && path.links().count() == req.count()
                // The service decides by the peer's address, once for all connections.
                && path.ends().same_hosts(&ends)
                && path.req().inline_imm() == req.inline_imm()
                && path.req().short_responses() == req.short_responses()
                && !path.links().has(req.id());
            return if matches {
                Ok(path.clone())
            } else {
                Err(ECONNRESET)
            };
        }
        // Clients begin with the connection for control.
        if req.id() != 0 {
            return Err(ECONNRESET);
        }
        let session = self.session_for(config, req, &ends)?;
        let pd = Pd::new(&device?)?;
        let path = Path::new(registry, config, session, pd, req, ends, self.next_vector)?;
        self.next_vector = self.next_vector.wrapping_add(req.count().into());
        self.paths.push(path.clone(), GFP_KERNEL)?;
        Ok(path)
    }

    /// Returns the session for a new path, which may be a new one.
    fn session_for(
        &self,
        config: &ServerConfig,
        req: &ConnReq,
        ends: &Endpoints,
    ) -> Result<Arc<Session>> {
        let (mut session, mut replaced) = (None, None);
        for path in &self.paths {
            if !path.session().is(req.session()) {
                continue;
            }
            if path.req().path() == req.path() {
                // The client has given this one up, which the server did not notice yet.
                path.close("replaced by a new connection of the client");
                // It may take a while to close. Only one is not counted, as each has its chunks
                // until it is gone.
                replaced.get_or_insert(path);
            } else if !path.is_closing() && path.ends().same_hosts(ends) {
                return Err(EEXIST);
            }
            session = Some(path.session().clone());
        }
        self.admit_one_more(req, ends, replaced)?;
        match session {
            Some(session) => Ok(session),
            None if self.is_taken(req, ends) => Err(ENOTUNIQ),
            None if req.first() => Session::new(&config.queue, req.session()),
            None => Err(ENXIO),
        }
    }

    /// Returns whether another session has the name that the client of `req` is going to use.
    ///
    /// A session that is closing is about to release its name, see [`PathTable::claim_name`].
    fn is_taken(&self, req: &ConnReq, ends: &Endpoints) -> bool {
        let mut paths = self.paths.iter();
        let Some(owner) =
            paths.find(|path| !path.is_closing() && req.is_for(path.session().name().to_bytes()))
        else {
            return false;
        };
        pr_err_ratelimited!("{ends}: the name of its session is in use: {owner}\n");
        true
    }

    /// Checks the quotas for another path, which takes the place of `replaced` if there is one.
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
            connections: path.links().count(),
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

    /// Returns whether there is another session of that name, all paths of which are closing.
    pub(super) fn is_leaving(&self, path: &Path, name: SessName<'_>) -> bool {
        let mut namesakes = self.namesakes(path, name).peekable();
        namesakes.peek().is_some() && namesakes.all(|other| other.is_closing())
    }

    /// Returns whether another path of the same session is closing, and may have requests with the
    /// service.
    pub(super) fn has_closing_sibling(&self, path: &Arc<Path>) -> bool {
        self.paths.iter().any(|other| {
            Arc::ptr_eq(other.session(), path.session())
                && !Arc::ptr_eq(other, path)
                && other.is_closing()
        })
    }

    /// Returns the paths of other sessions of that name.
    fn namesakes<'a>(
        &'a self,
        path: &'a Path,
        name: SessName<'a>,
    ) -> impl Iterator<Item = &'a Arc<Path>> {
        self.paths.iter().filter(move |other| {
            !Arc::ptr_eq(other.session(), path.session())
                && other.session().name().to_bytes() == name.as_bytes()
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
            pr_err_ratelimited!("{path}: requests of a lost path are still being executed\n");
            return Err(EBUSY);
        }
        let session = path.session();
        session.set_name(name)?;
        if session.name().to_bytes() != name.as_bytes() {
            pr_err_ratelimited!(
                "{path}: the client now names its session '{}'\n",
                Plain(name)
            );
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Returns the class of the sessions; `ENODEV` when the server has stopped.
    pub(super) fn class(&self) -> Result<Class> {
        self.class.clone().ok_or(ENODEV)
    }

    /// Takes the class, when there are no paths any more. The caller drops it without the lock.
    pub(super) fn take_class(&mut self) -> Option<Class> {
        self.class.take()
    }

    /// Returns the bytes of memory that the paths of `session` have for requests.
    pub(super) fn pinned(&self, session: &Arc<Session>) -> usize {
        let paths = self.paths.iter();
        paths
            .filter(|path| Arc::ptr_eq(path.session(), session))
            .map(|path| path.data().pinned(path.config()))
            .sum()
    }

    /// Closes all paths of `session`.
    pub(super) fn close_session(&self, session: &Arc<Session>, why: &str) {
        for path in &self.paths {
            if Arc::ptr_eq(path.session(), session) {
                path.close(why);
            }
        }
    }

    /// Closes all paths, and admits no more.
    pub(super) fn close_all(&mut self) {
        self.open = false;
        for path in &self.paths {
            path.close("the server stops");
        }
    }

    /// Returns whether there are no paths.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Removes a path.
    pub(super) fn remove(&mut self, path: &Arc<Path>) {
        self.paths.retain(|other| !Arc::ptr_eq(other, path));
    }
}
