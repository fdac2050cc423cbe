// SPDX-License-Identifier: GPL-2.0-only

//! A device that a session has open, from opening to the end of its last request.
//!
//! ```text
//! Opening ---> Open ---> Draining ---> Releasing ---> Closed
//!      opened()   close()    last request    resources
//!                             completes       dropped
//! ```
//!
//! Closing a device does not wait for its requests, which may take arbitrarily long. When
//! the last one has completed, a work item drops the resources and completes the CLOSE of
//! the client, if there is one. Until then, another work item logs periodically that the
//! device still has requests.
//!
//! Lock: `state`, taken after the lock of the session's table. Nothing is taken inside.

#![deny(unsafe_code)]

use core::mem;

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        Delta,
        Instant,
        Monotonic,
        NSEC_PER_SEC, //
    }, //
};

use rnbd_proto::wire::rnbd::{
    AccessMode,
    Description,
    DeviceFlags,
    Generation,
    OpenMsg, //
};

use rtrs::{
    impl_has_owned_work,
    kernel_ext::{
        completion::Completion,
        debugfs::LatencyFile,
        log::Plain,
        ref_table::{
            LastRefDropped,
            RefTableEntry, //
        },
        sysfs::SysfsDir,
        work::{
            self,
            OwnedWork,
            OwnedWorkItem, //
        },
        workqueue::WorkqueueHandle, //
    },
    new_owned_work,
    server::Request, //
};

use crate::{
    bdev::{
        BlockDevice,
        DevId, //
    },
    block_request::BackingDevice,
    disk_registry::Opener,
    event_counter::EventCounter,
    export_acl::{
        AccessGrant,
        ExportAcl, //
    }, //
};

const RELEASE: u64 = 0;
const REPORT: u64 = 1;

/// How often the log says that a device still has requests.
const REPORT_INTERVAL: Delta = Delta::from_secs(30);

/// A device that a session has open.
#[pin_data]
pub(crate) struct OpenDevice {
    /// The path by which the client opened it.
    path: KVec<u8>,
    mode: AccessMode,
    dev_id: DevId,
    device_name: CString,
    acl: Arc<ExportAcl>,
    events: Arc<EventCounter>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    release: OwnedWork<Self, RELEASE>,
    #[pin]
    report: OwnedWork<Self, REPORT>,
    #[pin]
    closed: Completion,
}

/// The state of an [`OpenDevice`], with what it owns in that state.
#[expect(
    clippy::large_enum_variant,
    reason = "a device is open for most of its life"
)]
enum State {
    /// The session is opening it.
    Opening,
    /// Requests find it.
    Open {
        /// Refer to the [`OpenDevice`]: a reference cycle, which closing it breaks.
        files: SysfsDir,
        resources: Resources,
        /// The size in sectors when the client was last told of it.
        seen_sectors: u64,
        /// The description that the client was sent last.
        described: Description,
        /// The description that the client was notified of last.
        seen: Description,
    },
    /// Closed for the client, with requests in flight.
    Draining {
        resources: Resources,
        /// The client's CLOSE, completed at the end.
        close_request: Option<Request>,
        since: Instant<Monotonic>,
    },
    /// No request is left; the resources are being dropped.
    Releasing,
    /// Nothing is left, and the session may open the device again.
    Closed,
}

/// What a device needs until its last request has completed. Drop may sleep.
pub(crate) struct Resources {
    // Dropped in this order: the file of the histograms that requests count in; the
    // block device; the opener, which makes room for the next one; and the access grant.
    pub(crate) _latency_file: LatencyFile,
    pub(crate) backing: RefTableEntry<BackingDevice>,
    pub(crate) _opener: Opener,
    pub(crate) _grant: AccessGrant,
}

impl_has_owned_work! {
    impl HasOwnedWork<RELEASE> for OpenDevice { self.release }
    impl HasOwnedWork<REPORT> for OpenDevice { self.report }
}

impl OpenDevice {
    /// Creates the state of `device`, which a session is opening. It is closed on `queue`.
    pub(crate) fn new(
        open: &OpenMsg<'_>,
        device: &BlockDevice,
        acl: Arc<ExportAcl>,
        events: Arc<EventCounter>,
        queue: &WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let mut path = KVec::new();

        path.extend_from_slice(open.path.as_bytes(), GFP_KERNEL)?;
        let device_name = CString::try_from(device.name())?;

        Arc::pin_init(
            pin_init!(Self {
                path,
                mode: open.mode,
                dev_id: device.id(),
                device_name,
                acl,
                events,
                state <- new_mutex!(State::Opening, "rnbd_open_device"),
                release <- new_owned_work!(queue.clone(), "rnbd_server_release"),
                report <- new_owned_work!(queue.clone(), "rnbd_server_report"),
                closed <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Enters state `Open`. The device had `sectors` when it was described to the client.
    pub(crate) fn opened(
        &self,
        files: SysfsDir,
        resources: Resources,
        sectors: u64,
        described: Description,
    ) {
        *self.state.lock() = State::Open {
            files,
            resources,
            seen_sectors: sectors,
            described,
            seen: described,
        };
    }

    /// The path by which the client opened it.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The access mode in which the client opened it.
    pub(crate) fn mode(&self) -> AccessMode {
        self.mode
    }

    /// The name of the session.
    pub(crate) fn session(&self) -> &CStr {
        self.acl.name()
    }

    /// Whether the device is in state `Open`.
    pub(crate) fn is_open(&self) -> bool {
        matches!(&*self.state.lock(), State::Open { .. })
    }

    /// Whether the device is in state `Closed`.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.state.lock(), State::Closed)
    }

    /// Checks whether the session may open `dev_id` while it has this device.
    ///
    /// # Errors
    ///
    /// If this is the same device, `EEXIST` if it is open and `EBUSY` if it is being closed.
    pub(crate) fn check_conflict(&self, dev_id: DevId) -> Result {
        if self.dev_id != dev_id {
            return Ok(());
        }
        match &*self.state.lock() {
            State::Closed => Ok(()),
            State::Opening | State::Open { .. } => Err(EEXIST),
            State::Draining { .. } | State::Releasing => Err(EBUSY),
        }
    }

    /// Describes the device for the client; [`None`] if it is not open. A client that follows
    /// descriptions tells which one its disk has `applied`.
    ///
    /// # Errors
    ///
    /// Those of [`BackingDevice::describe`].
    pub(crate) fn describe(&self, applied: Option<Generation>) -> Option<Result<Description>> {
        let mut state = self.state.lock();
        let State::Open {
            resources,
            seen_sectors,
            described,
            seen,
            ..
        } = &mut *state
        else {
            return None;
        };

        // Read first: a change in between is then reported, and not missed.
        *seen_sectors = resources.backing.device().sectors();
        let description = resources.backing.describe();
        Some(description.map(|description| {
            let now = description.after(described);
            let client_flushes = resources.backing.client_flushes();

            match applied {
                Some(_) if !now.flags.has(DeviceFlags::WRITE_CACHE) => client_flushes.set_stopped(),
                // The disk is as the description says.
                Some(applied) if applied == now.generation => client_flushes.set_known(),
                _ => (),
            }
            *described = now;
            *seen = now;
            now
        }))
    }

    /// Whether the size or the description differs from that at the last call of this or of
    /// [`Self::describe`].
    pub(crate) fn has_changed(&self) -> bool {
        match &mut *self.state.lock() {
            State::Open {
                resources,
                seen_sectors,
                described,
                seen,
                ..
            } => {
                let sectors = resources.backing.device().sectors();
                let resized = mem::replace(seen_sectors, sectors) != sectors;
                // A device that cannot be described is no different from before.
                let now = resources
                    .backing
                    .describe()
                    .map_or(*seen, |now| now.after(described));

                mem::replace(seen, now) != now || resized
            }
            _ => false,
        }
    }

    /// Closes the device once its requests have completed, and then completes
    /// `close_request`. New requests do not find the device. Returns whether it was open.
    ///
    /// If it was not, `close_request` is completed at once: the administrator closed the
    /// device, or the client sent the CLOSE twice.
    pub(crate) fn close(self: &Arc<Self>, close_request: Option<Request>) -> bool {
        let started = self.state.lock().start_draining(close_request);
        let files = match started {
            Ok(files) => files,
            Err(close_request) => {
                if let Some(request) = close_request {
                    request.complete(Ok(()));
                }
                return false;
            }
        };

        rtrs::pr_info_ratelimited!(self.acl =>
            "{}: closing '{}' ({})\n",
            self.session(),
            Plain(self.path.escape_ascii()),
            &*self.device_name
        );
        // Waits for callbacks of the files, which may take `state`. The directory must be
        // gone before the opener that it is part of is released.
        drop(files);
        work::schedule_in::<_, REPORT>(self, REPORT_INTERVAL);
        if let State::Draining { resources, .. } = &*self.state.lock() {
            resources.backing.retire(self.clone());
        }
        true
    }

    /// Closes the device without a request of the client, and notifies the client. Waits
    /// until it is closed, for at most `timeout`, or until the task is killed. Returns whether
    /// it is closed.
    ///
    /// A device that is still being opened is left alone, as the client does not know it
    /// yet.
    pub(crate) fn force_close(self: &Arc<Self>, timeout: Delta) -> bool {
        if self.close(None) {
            self.events.increment();
        } else if matches!(&*self.state.lock(), State::Opening) {
            return true;
        }
        matches!(self.closed.wait_killable_timeout(timeout), Ok(true))
    }

    /// Waits until a device on which [`Self::close`] was called is closed.
    pub(crate) fn wait_closed(&self) {
        self.closed.wait();
    }
}

impl State {
    /// Goes from `Open` to `Draining` and returns the files. In another state, returns
    /// `close_request`.
    fn start_draining(
        &mut self,
        close_request: Option<Request>,
    ) -> Result<SysfsDir, Option<Request>> {
        match mem::replace(self, Self::Releasing) {
            Self::Open {
                files, resources, ..
            } => {
                resources.backing.unpublish();
                *self = Self::Draining {
                    resources,
                    close_request,
                    since: Instant::now(),
                };
                Ok(files)
            }
            other => {
                *self = other;
                Err(close_request)
            }
        }
    }
    /// Goes from `Draining` to `Releasing` and returns the resources and the client's CLOSE. In
    /// another state, changes nothing.
    fn start_releasing(&mut self) -> Option<(Resources, Option<Request>)> {
        match mem::replace(self, Self::Releasing) {
            Self::Draining {
                resources,
                close_request,
                ..
            } => Some((resources, close_request)),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl LastRefDropped for OpenDevice {
    fn last_ref_dropped(self: Arc<Self>) {
        // The queue exists as long as a session has a device.
        work::schedule::<_, RELEASE>(&self);
    }
}

impl OwnedWorkItem<RELEASE> for OpenDevice {
    fn run(this: Arc<Self>) {
        work::stop_sync::<_, REPORT>(&this);
        let started = this.state.lock().start_releasing();
        let Some((resources, close_request)) = started else {
            // Only a draining device has its last reference dropped.
            return;
        };

        drop(resources);
        *this.state.lock() = State::Closed;
        if let Some(request) = close_request {
            request.complete(Ok(()));
        }
        this.closed.complete_all();
    }
}

impl OwnedWorkItem<REPORT> for OpenDevice {
    fn run(this: Arc<Self>) {
        let state = this.state.lock();
        let State::Draining { since, .. } = &*state else {
            return;
        };

        pr_warn!(
            "{}: still waiting for requests of '{}', for {} s\n",
            this.session(),
            Plain(this.path.escape_ascii()),
            since.elapsed().as_nanos() / NSEC_PER_SEC
        );
        drop(state);
        work::schedule_in::<_, REPORT>(&this, REPORT_INTERVAL);
    }
}
