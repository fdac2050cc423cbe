// SPDX-License-Identifier: GPL-2.0-only

//! Sessions: what the paths of one client have in common.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SetOnce;
use rnbd_proto::wire::rtrs::Uuid;

use super::listen::Shared;
use super::resend_order::ResendOrders;
use super::resend_order::SERVE;
use super::service::SessionService;
use super::session_dir::SessionDir;
use crate::impl_has_owned_work;
use crate::kernel_ext::kobject::SysfsParent;
use crate::kernel_ext::log::Plain;
use crate::kernel_ext::net::SockAddr;
use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Side;
use crate::kernel_ext::work::OwnedWork;
use crate::new_owned_work;
use crate::pr_err_ratelimited;

/// A client's session, for as long as it has paths.
#[pin_data]
pub(super) struct Session {
    uuid: Uuid,
    /// What the client calls it; set by its first path, under the lock of the
    /// table.
    pub(super) name: SetOnce<CString>,
    /// Held while the service is told of coming and going, so that it sees
    /// them one after the other.
    #[pin]
    upper: Mutex<Upper>,
    #[pin]
    pub(super) lanes: ResendOrders,
    #[pin]
    serve: OwnedWork<Self, SERVE>,
}

impl_has_owned_work! {
    impl HasOwnedWork<SERVE> for Session { self.serve }
}

/// What there is while a path is up.
struct Upper {
    /// Paths that are up.
    paths: usize,
    /// There while `paths` is not 0.
    service: Option<Arc<dyn SessionService>>,
    /// Likewise. Callbacks of its files do not take the lock.
    dir: Option<SessionDir>,
}

impl Session {
    pub(super) fn new(shared: &Shared, uuid: Uuid) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                uuid,
                name: SetOnce::new(),
                upper <- new_mutex!(Upper { paths: 0, service: None, dir: None }, "rtrs_session"),
                lanes <- ResendOrders::new(),
                serve <- new_owned_work!(shared.queue.clone(), "rtrs_server_serve"),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn is(&self, uuid: Uuid) -> bool {
        self.uuid == uuid
    }

    /// Its name, or nothing before a client gave one.
    pub(super) fn name(&self) -> &CStr {
        self.name.as_ref().map_or(c"", |name| name)
    }

    /// A path from `peer` comes up; the first one brings the session up. Returns
    /// also where the path may have its directory.
    pub(super) fn path_up(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        peer: &SockAddr,
    ) -> Result<(Arc<dyn SessionService>, SysfsParent)> {
        let mut upper = self.upper.lock();
        let (service, paths) = match &*upper {
            Upper {
                service: Some(service),
                dir: Some(dir),
                ..
            } => (service.clone(), dir.paths()),
            _ => self.up(shared, &mut upper)?,
        };
        if let Err(e) = service.path_up(peer) {
            self.down_if_unused(&mut upper);
            return Err(e);
        }
        upper.paths += 1;
        Ok((service, paths))
    }

    /// A path that was up is gone, with all of its requests; the last one takes
    /// the session down.
    pub(super) fn path_down(&self, peer: &SockAddr) {
        let mut upper = self.upper.lock();
        upper.paths = upper.paths.saturating_sub(1);
        if let Some(service) = &upper.service {
            service.path_down(peer);
        }
        self.down_if_unused(&mut upper);
    }

    fn up(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        upper: &mut Upper,
    ) -> Result<(Arc<dyn SessionService>, SysfsParent)> {
        let dir = SessionDir::new(shared, self).inspect_err(|e| {
            pr_err_ratelimited!(
                "session '{}' not shown in sysfs: {e:?}\n",
                Plain(self.name().to_bytes().escape_ascii())
            );
        })?;
        let service = shared.service.session_up(SessionInfo {
            shared: shared.clone(),
            session: self.clone(),
        })?;
        let up = (service.clone(), dir.paths());
        upper.service = Some(service);
        upper.dir = Some(dir);
        trace::session(Side::Server, self.name(), &Plain("Up"));
        Ok(up)
    }

    fn down_if_unused(&self, upper: &mut Upper) {
        if upper.paths > 0 {
            return;
        }
        if let Some(service) = upper.service.take() {
            service.session_down();
            trace::session(Side::Server, self.name(), &Plain("Down"));
        }
        // Before the path leaves the table, and with it the name is free.
        upper.dir = None;
    }
}

/// What a service knows of a session. Keeps nothing of it in use.
#[derive(Clone)]
pub struct SessionInfo {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

impl SessionInfo {
    /// The name that the client gave it: 1 to 255 bytes, no control
    /// characters, neither `/` nor `.`.
    pub fn name(&self) -> &CStr {
        self.session.name()
    }

    /// Requests that can be in flight at a time.
    pub fn queue_depth(&self) -> u32 {
        self.shared.limits.queue_depth().get().into()
    }

    /// Bytes of data that one request can have at most.
    pub fn max_io_size(&self) -> usize {
        self.shared.limits.max_io_size() as usize
    }

    /// Disconnects the client. Does not wait for it; `session_down` follows.
    pub fn close(&self) {
        self.shared
            .table
            .lock()
            .close_session(&self.session, "closed by the service");
    }
}
