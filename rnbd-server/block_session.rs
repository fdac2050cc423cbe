// SPDX-License-Identifier: GPL-2.0-only

//! A session with a client: dispatches its messages.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rnbd_proto::{
    async_event::EventCount,
    auth::KeyName,
    limits::QueueDepth,
    search_path::SearchPath,
    wire::{
        name::SessName,
        rnbd::{
            BlockOp,
            DescribeMsg,
            DescribeRsp,
            DevInfo,
            Features,
            IoMsg,
            Message,
            SessInfo,
            OPEN_RSP_SIZE, //
        }, //
    }, //
};

use rtrs::{
    kernel_ext::{
        log::Plain,
        net::SockAddr,
        workqueue::WorkqueueHandle, //
    },
    server::{
        Request,
        Service,
        SessionInfo,
        SessionService, //
    }, //
};

use crate::{
    bdev::BioData,
    block_request::{
        self,
        BlockRequest, //
    },
    devices::Devices,
    disk_registry::DiskRegistry,
    export_acl::ExportAcl,
    export_rules::ExportRules,
    open_close::OpenCloseQueue,
    response::{
        check_response_space,
        reply, //
    }, //
};

/// State that all sessions share.
pub(crate) struct Target {
    pub(crate) search: SearchPath<'static>,
    pub(crate) rules: Arc<ExportRules>,
    pub(crate) disks: Arc<DiskRegistry>,
    /// The workqueue on which devices are opened and closed.
    pub(crate) queue: WorkqueueHandle,
    /// The workqueue on which devices are flushed for clients that do not.
    pub(crate) flushes: WorkqueueHandle,
}

impl Service for Target {
    fn admit_peer(&self, peer: &SockAddr) -> Result {
        self.rules.admit_peer(peer)
    }

    fn admit_session(&self, peer: &SockAddr, name: SessName<'_>, key: Option<KeyName>) -> Result {
        self.rules.admit_session(peer, name, key)
    }

    fn session_up(&self, info: SessionInfo) -> Result<Arc<dyn SessionService>> {
        let depth = QueueDepth::new(info.queue_depth()).map_err(|_| EINVAL)?;
        let acl = ExportAcl::new(info.name(), info.key(), self.rules.clone())?;
        let devices = Devices::new(
            acl,
            self.search,
            self.disks.clone(),
            depth,
            self.queue.clone(),
            self.flushes.clone(),
        )?;
        let session = Arc::new(
            BlockSession {
                open_close: OpenCloseQueue::new(devices.clone(), depth, self.queue.clone())?,
                devices,
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }
}

/// A session with a client.
struct BlockSession {
    devices: Arc<Devices>,
    open_close: Arc<OpenCloseQueue>,
}

impl SessionService for BlockSession {
    fn path_up(&self, peer: &SockAddr) -> Result {
        self.devices.acl().add_peer(peer)
    }

    fn path_down(&self, peer: &SockAddr) {
        self.devices.acl().remove_peer(peer);
    }

    fn request(&self, request: Request) {
        match Message::parse(request.message()) {
            Ok(Message::Io(ref io)) => self.io(request, io),
            Ok(Message::SessInfo(info)) => self.exchange_info(request, &info),
            Ok(Message::DevInfo(info)) => {
                let description = self.device_info(&request, info);

                reply(request, description);
            }
            Ok(Message::Describe(msg)) => {
                let description = self.describe(&request, msg);

                reply(request, description);
            }
            Ok(Message::Open(_) | Message::Close(_)) => self.open_close.submit(request),
            Err(reason) => {
                rtrs::pr_warn_ratelimited!(self.devices.acl() =>
                    "{}: refused a message: {}\n",
                    self.devices.name(),
                    Plain(reason)
                );
                request.complete(Err(Error::from_errno(-reason.errno())));
            }
        }
    }

    fn async_event(&self) -> EventCount {
        match self.devices.client_has(Features::ASYNC_EVENTS) {
            true => self.devices.async_event(),
            false => EventCount::NONE,
        }
    }

    fn session_down(&self) {
        self.devices.close_all();
    }
}

impl BlockSession {
    /// Handles the client's `SESS_INFO`, which may come more than once.
    fn exchange_info(&self, request: Request, info: &SessInfo) {
        self.devices.set_client_features(info.features());

        reply(request, Ok(info.respond(self.async_event()).encode()));
    }

    /// Encodes the current description of a device, as much of it as the client asks for.
    fn describe(&self, request: &Request, msg: DescribeMsg) -> Result<DescribeRsp> {
        if !self.devices.client_has(Features::DESCRIPTIONS) || !request.is_read() {
            // The feature was not negotiated, or there is no response with data.
            return Err(EINVAL);
        }
        self.devices
            .describe(msg.device, Some(msg.applied))?
            .encode(request.data_len())
            .map_err(|_| EINVAL)
    }

    /// Encodes the current description of a device for a client that has
    /// [`Features::ASYNC_EVENTS`] only.
    fn device_info(&self, request: &Request, info: DevInfo) -> Result<[u8; OPEN_RSP_SIZE]> {
        if !self.devices.client_has(Features::ASYNC_EVENTS) {
            // The feature was not negotiated, so the message is not valid.
            return Err(EINVAL);
        }
        check_response_space(request)?;
        self.devices
            .describe(info.device, None)
            .map(|description| description.open_rsp(info.device).encode())
    }

    /// Submits a block request to the block layer, or fails it.
    fn io(&self, request: Request, io: &IoMsg) {
        let Some(backing) = self.devices.backing(io.device()) else {
            rtrs::pr_warn_ratelimited!(self.devices.acl() =>
                "{}: request for unknown device {}\n",
                self.devices.name(),
                Plain(io.device())
            );
            return request.complete(Err(ENOTCONN));
        };
        let command = match block_request::bio_command(io, &request, &backing) {
            Ok(command) => command,
            Err(error) => {
                rtrs::pr_warn_ratelimited!(self.devices.acl() =>
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
        let op = match command.data {
            BioData::Pages => io.op(),
            BioData::Zeroes => BlockOp::Write,
        };
        BlockRequest::new(request, backing, op).submit(command);
    }
}
