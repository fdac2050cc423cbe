// SPDX-License-Identifier: GPL-2.0-only

//! Closing a device when its last request has ended, be that never.
//!
//! Nobody waits for that. What requests use of a device, shared by `Arc`, has an [`InUse`]
//! as its last field. When the last reference is gone, and with it all fields before, the
//! [`InUse`] starts a task that closes the rest. So the reference count is all that
//! requests have to touch. Until then another task says from time to time that there are
//! requests left.

#![deny(unsafe_code)]

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::time::Delta;
use kernel::time::Instant;
use kernel::time::Monotonic;
use kernel::time::NSEC_PER_SEC;
use rnbd_proto::wire::rnbd::DeviceId;
use rtrs::impl_has_owned_work;
use rtrs::kernel_ext::completion::Completion;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::work;
use rtrs::kernel_ext::work::OwnedWork;
use rtrs::kernel_ext::work::OwnedWorkItem;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;
use rtrs::new_owned_work;
use rtrs::server::Request;

use crate::devices::Devices;
use crate::open_device::Held;

const FINISH: u64 = 0;
const REPORT: u64 = 1;

/// How often it is said that a device has requests left.
const PERIOD: Delta = Delta::from_secs(30);

/// Says on drop, in any context, that the thing it is part of is gone.
pub(crate) struct InUse(Arc<DeferredClose>);

/// What closes a device, from when it is opened on.
#[pin_data]
pub(crate) struct DeferredClose {
    /// There from when the device was given up until its last request has ended.
    #[pin]
    leaving: Mutex<Option<Leaving>>,
    #[pin]
    finish: OwnedWork<Self, FINISH>,
    #[pin]
    report: OwnedWork<Self, REPORT>,
    #[pin]
    closed: Completion,
}

/// A device that is given up.
struct Leaving {
    held: Held,
    /// Where it still has its id.
    devices: Arc<Devices>,
    id: DeviceId,
    /// The client's wish, to be answered when it is closed.
    asked: Option<Request>,
    /// When it was given up.
    since: Instant<Monotonic>,
}

impl_has_owned_work! {
    impl HasOwnedWork<FINISH> for DeferredClose { self.finish }
    impl HasOwnedWork<REPORT> for DeferredClose { self.report }
}

impl DeferredClose {
    /// For one device; it is closed on `queue`. The other half goes into what requests
    /// use of it.
    pub(crate) fn new(queue: &WorkqueueHandle) -> Result<(Arc<Self>, InUse)> {
        let drain = Arc::pin_init(
            pin_init!(Self {
                leaving <- new_mutex!(None, "rnbd_drain"),
                finish <- new_owned_work!(queue.clone(), "rnbd_server_close"),
                report <- new_owned_work!(queue.clone(), "rnbd_server_report"),
                closed <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;

        Ok((drain.clone(), InUse(drain)))
    }

    /// The device `id` of `devices` is given up: no request finds it any more. To be called
    /// once, by who has a reference to what requests use, and drops that afterwards.
    pub(crate) fn begin(
        self: &Arc<Self>,
        held: Held,
        devices: Arc<Devices>,
        id: DeviceId,
        asked: Option<Request>,
    ) {
        let leaving = Leaving {
            held,
            devices,
            id,
            asked,
            since: Instant::now(),
        };

        *self.leaving.lock() = Some(leaving);
        work::schedule_in::<_, REPORT>(self, PERIOD);
    }

    /// Waits until the device is closed.
    pub(crate) fn wait(&self) {
        self.closed.wait();
    }

    /// Waits until the device is closed, for so long at most, or until the task is
    /// killed. Whether it is.
    pub(crate) fn wait_at_most(&self, limit: Delta) -> bool {
        matches!(self.closed.wait_killable_timeout(limit), Ok(true))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // The queue is there as long as a session has a device.
        work::schedule::<_, FINISH>(&self.0);
    }
}

impl OwnedWorkItem<FINISH> for DeferredClose {
    fn run(this: Arc<Self>) {
        work::stop_sync::<_, REPORT>(&this);
        let leaving = this.leaving.lock().take();

        // None for a device that could not be opened in the end.
        let Some(leaving) = leaving else {
            return;
        };
        let Leaving {
            held,
            devices,
            id,
            asked,
            ..
        } = leaving;

        drop(held);
        // Only now may the session open it again.
        devices.remove(id);
        if let Some(request) = asked {
            request.complete(Ok(()));
        }
        this.closed.complete_all();
    }
}

impl OwnedWorkItem<REPORT> for DeferredClose {
    fn run(this: Arc<Self>) {
        let leaving = this.leaving.lock();
        let Some(leaving) = &*leaving else {
            return;
        };
        let seconds = leaving.since.elapsed().as_nanos() / NSEC_PER_SEC;

        pr_warn!(
            "{}: still waiting for requests of '{}', for {} s\n",
            leaving.devices.name(),
            Plain(leaving.held.path.escape_ascii()),
            seconds
        );
        work::schedule_in::<_, REPORT>(&this, PERIOD);
    }
}
