// SPDX-License-Identifier: GPL-2.0-only

//! The paths of a server, and through them its sessions.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    auth::KeyName,
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
    path::{
        Endpoints,
        Path, //
    },
    session::{
        Registry,
        Session, //
    }, //
};

/// Why a path is closed whose client has made another one.
const REPLACED: &str = "replaced by a new connection of the client";

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
            path.session().is(req)
                && known.path() == req.path()
                && known.reconnects() == req.reconnects()
                // Who has seen the ids does not get in the way of who can prove a key.
                && (!req.auth() || path.ends().same_hosts(&ends))
        });
        if let Some(path) = known {
            let matches = path.state() == ServerState::Connecting
                && path.links().count() == req.count()
                // The service decides by the peer's address, once for all connections.
                && path.ends().same_hosts(&ends)
                && path.req().inline_imm() == req.inline_imm()
                && path.req().short_responses() == req.short_responses()
                && path.req().eager() == req.eager()
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
            if !path.session().is(req) {
                continue;
            }
            if path.req().path() == req.path() {
                // The client has given this one up, which the server did not notice yet.
                // If it has a key, see [`PathTable::claim_key`].
                if !req.auth() {
                    path.close(REPLACED);
                }
                // It may take a while to close. Only one is not counted, as each has its chunks
                // until it is gone.
                replaced.get_or_insert(path);
            } else if !path.is_closing() && path.ends().same_hosts(ends) {
                return Err(EEXIST);
            }
            session = Some(path.session().clone());
        }
        let half_open = !session.as_ref().is_some_and(|session| session.is_up());
        self.admit_one_more(config, req, ends, half_open, replaced)?;
        match session {
            Some(session) => Ok(session),
            None if self.is_taken(req, ends) => Err(ENOTUNIQ),
            None if req.first() => Session::new(&config.queue, req.session(), req.auth()),
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
        pr_err_ratelimited!(ends => "{ends}: the name of its session is in use: {owner}\n");
        true
    }

    /// Checks the quotas for another path, which takes the place of `replaced` if there is one.
    /// `half_open` is whether its session is not up.
    fn admit_one_more(
        &self,
        config: &ServerConfig,
        req: &ConnReq,
        ends: &Endpoints,
        half_open: bool,
        replaced: Option<&Arc<Path>>,
    ) -> Result {
        let is_replaced = |path: &Arc<Path>| replaced.is_some_and(|old| Arc::ptr_eq(old, path));
        let mut others = KVVec::with_capacity(self.paths.len(), GFP_KERNEL)?;
        for path in self.paths.iter().filter(|path| !is_replaced(path)) {
            let usage = PathUsage {
                session: path.req().session(),
                peer: path.ends().group(),
                connections: path.links().count(),
                bytes: config.memory_of(path.req()),
                half_open: path.state() == ServerState::Connecting && !path.session().is_up(),
            };
            others.push(usage, GFP_KERNEL)?;
        }
        let origin = PathUsage {
            session: req.session(),
            peer: ends.group(),
            connections: req.count(),
            bytes: config.memory_of(req),
            half_open,
        };
        let admitted = config.quota.admit(&others, &origin);
        admitted.map_err(|exceeded| {
            pr_err_ratelimited!(ends => "{ends}: {}\n", Plain(exceeded));
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
                // One that was never up has none. Anybody can make one that knows the ids.
                && other.service().is_some()
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
            pr_err_ratelimited!(path => "{path}: session name '{}' is in use\n", Plain(name));
            return Err(EPERM);
        }
        if self.has_closing_sibling(path) {
            pr_err_ratelimited!(path => "{path}: requests of a lost path are still being executed\n");
            return Err(EBUSY);
        }
        let session = path.session();
        session.set_name(name)?;
        if session.name().to_bytes() != name.as_bytes() {
            pr_err_ratelimited!(path =>
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

    /// Binds the session of `path` to `key`, which its client has proven. Closes the paths that the
    /// client has given up, as it has made this one in their place, and those of others who claim
    /// to be that: the ids of a path are no secret.
    ///
    /// # Errors
    ///
    /// `EKEYREJECTED`, with a line in the log, when another path of the session has another key.
    pub(super) fn claim_key(&self, path: &Arc<Path>, key: KeyName) -> Result {
        if !path.session().bind_key(key) {
            pr_err_ratelimited!(path => "{path}: key rnbd:{} is not the one of the other paths of its session\n",
                Plain(key)
            );
            return Err(EKEYREJECTED);
        }
        for other in &self.paths {
            if Arc::ptr_eq(other.session(), path.session())
                && other.req().path() == path.req().path()
                && !Arc::ptr_eq(other, path)
            {
                other.close(REPLACED);
            }
        }
        Ok(())
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
