// SPDX-License-Identifier: GPL-2.0-only

//! Queue of the OPEN and CLOSE messages of a session.
//!
//! Opening a device may take arbitrarily long, for example while another task scans its
//! partitions. A work item of the session does it, so that requests for other devices are
//! not held up. A queued message is a request without a response; the transport does not
//! end the session before it is completed.

#![deny(unsafe_code)]

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use rnbd_proto::{
    limits::QueueDepth,
    wire::rnbd::{
        CloseMsg,
        Message,
        OpenMsg,
        OPEN_RSP_SIZE, //
    }, //
};

use rtrs::{
    impl_has_owned_work,
    kernel_ext::{
        log::Plain,
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
    devices::Devices,
    export_rules::OpenError,
    response::{
        check_response_space,
        reply, //
    }, //
};

const WORK: u64 = 0;

/// Opens and closes the devices of a session, one at a time, in order of arrival.
#[pin_data]
pub(crate) struct OpenCloseQueue {
    devices: Arc<Devices>,
    /// In order of arrival. Has capacity for all: a session has at most one request per
    /// message id.
    #[pin]
    waiting: Mutex<KVVec<Request>>,
    /// The messages that the work item is handling; empty otherwise. Taken before
    /// `waiting`.
    #[pin]
    batch: Mutex<KVVec<Request>>,
    #[pin]
    work: OwnedWork<Self, WORK>,
}

impl_has_owned_work! {
    impl HasOwnedWork<WORK> for OpenCloseQueue { self.work }
}

impl OpenCloseQueue {
    /// Creates the queue of a session with `depth` message ids. The work runs on `queue`.
    pub(crate) fn new(
        devices: Arc<Devices>,
        depth: QueueDepth,
        queue: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let empty = || KVVec::with_capacity(depth.get().into(), GFP_KERNEL);
        let (waiting, batch) = (empty()?, empty()?);

        Arc::pin_init(
            pin_init!(Self {
                devices,
                waiting <- new_mutex!(waiting, "rnbd_open_close_waiting"),
                batch <- new_mutex!(batch, "rnbd_open_close_batch"),
                work <- new_owned_work!(queue, "rnbd_server_open_close"),
            }),
            GFP_KERNEL,
        )
    }

    /// Queues an OPEN or CLOSE message.
    pub(crate) fn submit(self: &Arc<Self>, request: Request) {
        let pushed = self.waiting.lock().push_within_capacity(request);

        match pushed {
            // If the work is running, it runs again.
            Ok(()) => {
                work::schedule::<_, WORK>(self);
            }
            // Cannot happen: there is capacity for every message id.
            Err(full) => full.0.complete(Err(EBUSY)),
        }
    }

    fn handle(&self, request: Request) {
        match Message::parse(request.message()) {
            Ok(Message::Open(open)) => {
                let response = self.open(&request, &open);

                reply(request, response);
            }
            Ok(Message::Close(close)) => self.close(request, close),
            // Not queued by `BlockSession`.
            _ => request.complete(Err(EINVAL)),
        }
    }

    /// Opens a device for the client.
    fn open(&self, request: &Request, open: &OpenMsg<'_>) -> Result<[u8; OPEN_RSP_SIZE]> {
        // The client would never learn the id, and so never close the device.
        if request.is_lost() {
            return Err(ECONNABORTED);
        }
        let opened = check_response_space(request)
            .map_err(Into::into)
            .and_then(|()| self.devices.open(open));

        match opened {
            Ok(opened) if opened.newly_opened && request.is_lost() => {
                self.devices.close(opened.response.device, None);
                Err(ECONNABORTED)
            }
            Ok(opened) => Ok(opened.response.encode()),
            Err(OpenError::Denied(error)) => Err(error),
            Err(OpenError::Failed(error)) => {
                rtrs::pr_err_ratelimited!(self.devices.acl() =>
                    "{}: opening '{}' as {} failed: {:?}\n",
                    self.devices.name(),
                    Plain(open.path),
                    Plain(open.mode),
                    error
                );
                Err(error)
            }
        }
    }

    /// Starts to close a device. The request is completed when the device is closed.
    fn close(&self, request: Request, close: CloseMsg) {
        if request.is_read() && request.data_len() > 0 {
            // The response has no data.
            return request.complete(Err(EINVAL));
        }
        self.devices.close(close.device, Some(request));
    }
}

impl OwnedWorkItem<WORK> for OpenCloseQueue {
    fn run(this: Arc<Self>) {
        let mut batch = this.batch.lock();

        core::mem::swap(&mut *batch, &mut *this.waiting.lock());
        for request in batch.drain_all() {
            this.handle(request);
        }
    }
}
