// SPDX-License-Identifier: GPL-2.0-only

//! A session: what its client asks for.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use rnbd_proto::async_event::EventCount;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::search_path::SearchPath;
use rnbd_proto::wire::rnbd::DevInfo;
use rnbd_proto::wire::rnbd::Features;
use rnbd_proto::wire::rnbd::IoMsg;
use rnbd_proto::wire::rnbd::Message;
use rnbd_proto::wire::rnbd::SessInfo;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::net::SockAddr;
use rtrs::kernel_ext::workqueue::WorkqueueHandle;
use rtrs::server::Request;
use rtrs::server::Service;
use rtrs::server::SessionInfo;
use rtrs::server::SessionService;

use crate::bdev::BioOwner as _;
use crate::bdev::BioPool;
use crate::devices::Devices;
use crate::disks::Disks;
use crate::export_acl::ExportAcl;
use crate::export_rules::ExportRules;
use crate::io;
use crate::io::Inflight;
use crate::open_close::OpenCloseQueue;
use crate::response::reply;
use crate::response::room_for_description;

/// What all sessions share.
pub(crate) struct Target {
    pub(crate) search: SearchPath<'static>,
    pub(crate) rules: Arc<ExportRules>,
    pub(crate) disks: Arc<Disks>,
    /// Where devices are opened and closed.
    pub(crate) queue: WorkqueueHandle,
}

impl Service for Target {
    fn session_up(&self, info: SessionInfo) -> Result<Arc<dyn SessionService>> {
        let depth = QueueDepth::new(info.queue_depth()).map_err(|_| EINVAL)?;
        let gate = ExportAcl::new(info.name(), self.rules.clone())?;
        let devices = Devices::new(gate, self.search, self.disks.clone(), self.queue.clone())?;
        let session = Arc::new(
            BlockSession {
                admin: OpenCloseQueue::new(devices.clone(), depth, self.queue.clone())?,
                devices,
                bios: BioPool::new(depth)?,
                listens: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }
}

/// A session with a client.
struct BlockSession {
    devices: Arc<Devices>,
    admin: Arc<OpenCloseQueue>,
    /// As many as the transport lets a path have requests in flight.
    bios: BioPool<Inflight>,
    /// Whether the client wants to know when a device changes.
    listens: Atomic<bool>,
}

impl SessionService for BlockSession {
    fn path_up(&self, peer: &SockAddr) -> Result {
        self.devices.gate().enter(peer)
    }

    fn path_down(&self, peer: &SockAddr) {
        self.devices.gate().leave(peer);
    }

    fn request(&self, request: Request) {
        match Message::parse(request.message()) {
            Ok(Message::Io(io)) => self.io(request, &io),
            Ok(Message::SessInfo(info)) => self.greet(request, &info),
            Ok(Message::DevInfo(info)) => {
                let answer = self.describe(&request, info);

                reply(request, answer);
            }
            Ok(Message::Open(_) | Message::Close(_)) => self.admin.submit(request),
            Err(reason) => {
                rtrs::pr_warn_ratelimited!(
                    "{}: refused a message: {}\n",
                    self.devices.name(),
                    Plain(reason)
                );
                request.complete(Err(Error::from_errno(-reason.errno())));
            }
        }
    }

    fn async_event(&self) -> EventCount {
        match self.listens.load(Relaxed) {
            true => self.devices.async_event(),
            false => EventCount::NONE,
        }
    }

    fn session_down(&self) {
        self.devices.end();
    }
}

impl BlockSession {
    /// Greets the client, perhaps once more.
    fn greet(&self, request: Request, info: &SessInfo) {
        let listens = info.features().has(Features::ASYNC_EVENTS);
        self.listens.store(listens, Relaxed);

        reply(request, Ok(info.respond(self.async_event()).encode()));
    }

    /// Tells the client how a device is now.
    fn describe(&self, request: &Request, info: DevInfo) -> Result<[u8; OPEN_RSP_SIZE]> {
        if !self.listens.load(Relaxed) {
            // Not agreed upon, so whoever sends it means something else.
            return Err(EINVAL);
        }
        room_for_description(request)?;
        self.devices
            .describe(info.device)
            .map(|answer| answer.encode())
    }

    /// Has the block layer execute a block request, or refuses it.
    fn io(&self, request: Request, io: &IoMsg) {
        let Some(export) = self.devices.export(io.device()) else {
            rtrs::pr_warn_ratelimited!(
                "{}: request for unknown device {}\n",
                self.devices.name(),
                Plain(io.device())
            );
            return request.complete(Err(ENOTCONN));
        };
        let command = match io::command(io, &request, &export) {
            Ok(command) => command,
            Err(error) => {
                rtrs::pr_warn_ratelimited!(
                    "{}: refused to {:?} {} bytes at sector {}: {:?}\n",
                    self.devices.name(),
                    io.op(),
                    io.len(),
                    io.sector(),
                    error
                );
                return request.complete(Err(error));
            }
        };
        let mut inflight = Inflight::new(request, export, io.op());

        // There are bios for all requests of one path. More come in while a client goes
        // over to another path and the disk still works on those of the old one.
        inflight.submitting();
        while let Err((back, error)) = self.bios.submit(inflight, &command) {
            if error != EBUSY {
                return back.done(Err(error));
            }
            inflight = back;
            fsleep(Delta::from_millis(1));
            inflight.submitting();
        }
    }
}
