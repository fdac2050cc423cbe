// SPDX-License-Identifier: GPL-2.0-only

//! Opening and closing a session.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::async_event::EventListener;

use crate::{
    client::{
        control::ControlChannel,
        path_set::PathSet,
        requeue_list::RequeueList,
        session_params::{
            SessionConfig,
            SessionParams, //
        },
        session_sysfs,
        Client, //
    },
    kernel_ext::{
        log::Plain,
        work,
        workqueue::{
            OwnedWorkqueue,
            WorkqueueKind, //
        }, //
    },
    new_noio_mutex,
    new_owned_work, //
};

use super::{
    Events,
    Session,
    ASYNC_EVENT,
    FAIL_QUEUED,
    REQUEUE, //
};

impl Session {
    /// Connects to a server. Takes up to 30 s for each step; killable.
    ///
    /// # Errors
    ///
    /// When no path could be connected, the error of the last one: `EHOSTUNREACH` when there
    /// is no route to the server, `ECONNREFUSED` when no server listens there, or the error
    /// that the server refused the path with. `EEXIST` when sysfs has a session of this name
    /// already. `EOPNOTSUPP` from another network namespace than the initial one.
    pub fn open(
        client: &Client,
        config: &SessionConfig<'_>,
        events: Arc<dyn Events>,
    ) -> Result<Arc<Self>> {
        let queue = OwnedWorkqueue::new(c"rtrs_client", WorkqueueKind::Unbound)?;
        let session = Arc::pin_init(
            try_pin_init!(Self {
                params: SessionParams::new(config)?,
                paths <- PathSet::new(config.settings.mpath_policy),
                requeue_list <- RequeueList::new(),
                control <- ControlChannel::new(),
                events,
                listener: EventListener::new(),
                reopening <- new_noio_mutex!((), "rtrs_session_reopening"),
                fail_queued <- new_owned_work!(queue.handle(), "rtrs_client_fail_queued"),
                event_work <- new_owned_work!(queue.handle(), "rtrs_client_event"),
                requeue_work <- new_owned_work!(queue.handle(), "rtrs_client_requeue"),
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
        self.check_namespace()?;
        self.paths.set_dir(session_sysfs::create(client, self)?);
        let mut outcome = Err(EINVAL);
        let mut failed = KVec::new();
        for addr in config.paths {
            let (path, e) = match self.new_path(addr).map(|path| (path.connect_first(), path)) {
                Ok((Ok(()), path)) => {
                    self.paths.show(&path)?;
                    outcome = Ok(());
                    continue;
                }
                Ok((Err(e), path)) => (Some(path), e),
                Err(e) => (None, e),
            };
            pr_err!(
                "{}: connecting {} failed: {e:?}\n",
                self.name(),
                Plain(addr)
            );
            if let Some(path) = path {
                self.paths.show(&path)?;
                failed.push(path, GFP_KERNEL)?;
            }
            if outcome.is_err() {
                outcome = Err(e);
            }
        }
        outcome?;
        // The block driver opens the first devices after this, so none is to be opened again.
        if let Some(epoch) = self.requeue_list.reopen_due() {
            self.mark_reopened(epoch);
        }
        for path in failed {
            path.start_reconnecting();
        }
        Ok(())
    }

    /// Disconnects, and waits until each request is completed.
    ///
    /// Neither events nor completions are called after this. Idempotent; sleeps.
    pub fn close(self: &Arc<Self>) {
        let (paths, dir) = self.paths.close();
        for path in &paths {
            path.shut_down();
        }
        work::stop_sync::<_, FAIL_QUEUED>(self);
        // Without a path, its control messages fail.
        work::stop_sync::<_, ASYNC_EVENT>(self);
        drop(dir);
        self.paths.clear();
        // Without a path, no request is queued any more.
        work::stop_sync::<_, REQUEUE>(self);
        self.kick_requeue_list();
    }
}
