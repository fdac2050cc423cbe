// SPDX-License-Identifier: GPL-2.0-only

//! A session with a server: the transport as the block driver sees it.
//!
//! A session is composed of its [paths](PathSet), the [list](RequeueList) of requests that
//! wait for one, the [control channel](ControlChannel) and its [parameters](SessionParams).
//!
//! Lock order: `reopening` → the lock of the control channel; `Path::work` → the lock of the
//! requeue list → `Path::availability`. The lock of the list of paths is taken alone, or before
//! `Path::work` where that is only tried.

mod async_event;
mod identity;
mod open;
mod owner;
mod submit;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    async_event::EventListener,
    auth::KeyName,
    session_settings::SessionSettings,
    session_state::SessionState, //
};

use crate::{
    client::{
        control::ControlChannel,
        path_set::PathSet,
        requeue_list::RequeueList,
        session_params::SessionParams, //
    },
    kernel_ext::{
        noio_mutex::NoIoMutex,
        work::OwnedWork,
        workqueue::OwnedWorkqueue, //
    },
    rdma::sg::MAX_SEGMENTS, //
};

/// Work items of a session.
const FAIL_QUEUED: u64 = 0;
const ASYNC_EVENT: u64 = 1;
const REQUEUE: u64 = 2;

/// Callbacks of the block driver.
pub trait Events: Send + Sync {
    /// The session lost its last path. If `waits`, I/O waits for one to be connected again,
    /// else it fails. In a worker.
    fn disconnected(&self, waits: bool);

    /// The session has a path again, but the server has forgotten the devices: open them by
    /// [`Session::call`]. I/O goes on after that. In a worker.
    ///
    /// On an error the path is given up, and connected again later.
    fn reconnected(self: Arc<Self>, session: &Arc<Session>) -> Result;

    /// All paths are up, after one was connected again: the server has executed all requests of
    /// the paths that were lost. In a worker.
    fn all_paths_up(&self);

    /// An open device changed on the server: ask for it by [`Session::call`]. In a worker,
    /// one call at a time; not before [`Session::listen`].
    ///
    /// On an error it is called again after the next heartbeat with an event.
    fn async_event(self: Arc<Self>, session: &Arc<Session>) -> Result;
}

/// A session. [`Session::close`] must be called before it is dropped, as its paths refer to
/// it.
#[pin_data]
pub struct Session {
    params: SessionParams,
    #[pin]
    paths: PathSet,
    #[pin]
    requeue_list: RequeueList,
    #[pin]
    control: ControlChannel,
    events: Arc<dyn Events>,
    listener: EventListener,
    /// Held while the devices are opened again.
    #[pin]
    reopening: NoIoMutex<()>,
    #[pin]
    fail_queued: OwnedWork<Self, FAIL_QUEUED>,
    #[pin]
    event_work: OwnedWork<Self, ASYNC_EVENT>,
    /// Scheduled for requests that wait for room in a device.
    #[pin]
    requeue_work: OwnedWork<Self, REQUEUE>,
    queue: OwnedWorkqueue,
}

impl Session {
    /// Returns identity, limits and settings.
    pub(super) fn params(&self) -> &SessionParams {
        &self.params
    }

    /// Returns the set of paths.
    pub(super) fn paths(&self) -> &PathSet {
        &self.paths
    }

    /// Sets the limit of reconnect attempts, also for paths that wait for one already.
    pub(super) fn set_max_reconnect_attempts(&self, attempts: i32) {
        self.params.set_max_reconnect_attempts(attempts);
        self.paths.max_attempts_changed();
    }

    /// Returns the settings, as given when the session was opened or changed since.
    pub fn settings(&self) -> SessionSettings {
        SessionSettings {
            fast_io_fail_tmo: self.params.fast_io_fail_tmo(),
            max_reconnect_attempts: self.params.max_reconnect_attempts(),
            mpath_policy: self.paths.policy(),
        }
    }

    /// Whether a path is up.
    pub fn is_connected(&self) -> bool {
        self.requeue_list.is_up()
    }

    /// Whether I/O is sent: a path is up, and the server has the devices open.
    pub fn is_live(&self) -> bool {
        self.requeue_list.snapshot().state() == SessionState::Live
    }

    /// Returns the number of connections of each path for polled I/O.
    pub fn nr_poll_queues(&self) -> u32 {
        self.params.nr_poll_queues()
    }

    /// Returns the name of the key that both sides have proven on each path, if they have.
    pub fn key(&self) -> Option<KeyName> {
        self.params.key()
    }

    /// Returns the name.
    pub fn name(&self) -> &CStr {
        self.params.name()
    }

    /// Returns the number of message ids.
    pub fn queue_depth(&self) -> u32 {
        self.params.queue_depth()
    }

    /// Returns the number of message ids for I/O, which are those from 0.
    pub fn io_depth(&self) -> u32 {
        self.params.io_depth()
    }

    /// Returns the length of the longest data of one request, in bytes.
    pub fn max_io_size(&self) -> u32 {
        self.params.max_io_size()
    }

    /// Returns the largest number of segments of one request.
    pub fn max_segments(&self) -> u16 {
        MAX_SEGMENTS as u16
    }
}
