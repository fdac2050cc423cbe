// SPDX-License-Identifier: GPL-2.0-only

//! Opening and closing of devices for a client, which may take long: a device is opened
//! when whoever reads its partitions is done, be that never.
//!
//! So this is not done where requests come in, as that would hold up those for other
//! devices, but by a task of the session. A message that waits here is a request that was
//! not answered: the transport ends no session before it was.

#![deny(unsafe_code)]

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::wire::rnbd::CloseMsg;
use rnbd_proto::wire::rnbd::Message;
use rnbd_proto::wire::rnbd::OpenMsg;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rtrs::impl_has_owned_work;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::work;
use rtrs::kernel_ext::work::OwnedWork;
use rtrs::kernel_ext::work::OwnedWorkItem;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;
use rtrs::new_owned_work;
use rtrs::server::Request;

use crate::devices::Devices;
use crate::export_rules::OpenError;
use crate::response::reply;
use crate::response::room_for_description;

const WORK: u64 = 0;

/// What opens and closes the devices of a session, one after the other.
#[pin_data]
pub(crate) struct OpenCloseQueue {
    devices: Arc<Devices>,
    /// In the order in which they came. With room for all: a session has one request of
    /// each message id here at a time.
    #[pin]
    waiting: Mutex<KVVec<Request>>,
    /// Likewise. What the task is at; empty otherwise. Taken before `waiting`.
    #[pin]
    batch: Mutex<KVVec<Request>>,
    #[pin]
    task: OwnedWork<Self, WORK>,
}

impl_has_owned_work! {
    impl HasOwnedWork<WORK> for OpenCloseQueue { self.task }
}

impl OpenCloseQueue {
    /// For `devices` of a session of this depth; the work is done on `queue`.
    pub(crate) fn new(
        devices: Arc<Devices>,
        depth: QueueDepth,
        queue: WorkqueueHandle,
    ) -> Result<Arc<Self>> {
        let room = || KVVec::with_capacity(depth.get().into(), GFP_KERNEL);
        let (waiting, batch) = (room()?, room()?);

        Arc::pin_init(
            pin_init!(Self {
                devices,
                waiting <- new_mutex!(waiting, "rnbd_admin_waiting"),
                batch <- new_mutex!(batch, "rnbd_admin_batch"),
                task <- new_owned_work!(queue, "rnbd_server_admin"),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes a message that asks to open or close a device.
    pub(crate) fn submit(self: &Arc<Self>, request: Request) {
        let pushed = self.waiting.lock().push_within_capacity(request);

        match pushed {
            // If it is running it runs again.
            Ok(()) => {
                work::schedule::<_, WORK>(self);
            }
            // Cannot be: there is room for every message id.
            Err(full) => full.0.complete(Err(EBUSY)),
        }
    }

    fn handle(&self, request: Request) {
        match Message::parse(request.message()) {
            Ok(Message::Open(open)) => {
                let answer = self.open(&request, &open);

                reply(request, answer);
            }
            Ok(Message::Close(close)) => self.close(request, close),
            // Not for us.
            _ => request.complete(Err(EINVAL)),
        }
    }

    /// Opens a device for the client.
    fn open(&self, request: &Request, open: &OpenMsg<'_>) -> Result<[u8; OPEN_RSP_SIZE]> {
        // A device whose id does not reach the client would stay open for nothing.
        if request.is_lost() {
            return Err(ECONNABORTED);
        }
        let opening = room_for_description(request)
            .map_err(Into::into)
            .and_then(|()| self.devices.open(open));

        match opening {
            Ok(opening) if opening.fresh && request.is_lost() => {
                self.devices.close(opening.answer.device, None);
                Err(ECONNABORTED)
            }
            Ok(opening) => Ok(opening.answer.encode()),
            Err(OpenError::Denied(error)) => Err(error),
            Err(OpenError::Failed(error)) => {
                rtrs::pr_err_ratelimited!(
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

    /// Closes a device, which is answered when that is done, though not waited for here.
    fn close(&self, request: Request, close: CloseMsg) {
        if request.is_read() && request.data_len() > 0 {
            // There is nothing to send back.
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
