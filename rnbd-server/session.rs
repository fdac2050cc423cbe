// SPDX-License-Identifier: GPL-2.0-only

//! A session: what its client asks for.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::delay::fsleep;
use kernel::time::Delta;
use rnbd_proto::limits::QueueDepth;
use rnbd_proto::search_path::SearchPath;
use rnbd_proto::wire::rnbd::Close;
use rnbd_proto::wire::rnbd::Io;
use rnbd_proto::wire::rnbd::Message;
use rnbd_proto::wire::rnbd::Open;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rtrs::server::Request;
use rtrs::server::Service;
use rtrs::server::SessionInfo;
use rtrs::server::SessionService;
use rtrs::support::log::Plain;

use crate::bdev::BioPool;
use crate::bdev::Io as _;
use crate::devices::Devices;
use crate::disks::Disks;
use crate::io;
use crate::io::Inflight;

/// What all sessions share.
pub(crate) struct Target {
    pub(crate) search: SearchPath<'static>,
    pub(crate) disks: Arc<Disks>,
}

impl Service for Target {
    fn session_up(&self, info: SessionInfo) -> Result<Arc<dyn SessionService>> {
        let depth = QueueDepth::new(info.queue_depth()).map_err(|_| EINVAL)?;
        let session = Arc::new(
            Session {
                devices: Devices::new(info.name(), self.search, self.disks.clone())?,
                bios: BioPool::new(depth)?,
            },
            GFP_KERNEL,
        )?;

        Ok(session)
    }
}

/// A session with a client.
struct Session {
    devices: Arc<Devices>,
    /// As many as the transport lets a path have requests in flight.
    bios: BioPool<Inflight>,
}

impl SessionService for Session {
    fn request(&self, request: Request) {
        match Message::parse(request.message()) {
            Ok(Message::Io(io)) => self.io(request, &io),
            Ok(Message::SessInfo(info)) => reply(request, Ok(info.answer().encode())),
            Ok(Message::Open(open)) => {
                let answer = self.open(&request, &open);

                reply(request, answer);
            }
            Ok(Message::Close(close)) => self.close(request, close),
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

    fn session_down(&self) {
        self.devices.end();
    }
}

impl Session {
    /// Opens a device for the client.
    fn open(&self, request: &Request, open: &Open<'_>) -> Result<[u8; OPEN_RSP_SIZE]> {
        // A device whose id does not reach the client would stay open for nothing.
        let answer = if request.is_read() && request.data_len() >= OPEN_RSP_SIZE {
            self.devices.open(open)
        } else {
            Err(EINVAL)
        };

        match answer {
            Ok(answer) => Ok(answer.encode()),
            Err(error) => {
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

    /// Closes a device. One that is closed already, by the server's administrator or
    /// by the same message sent twice, is as closed as the client wants it.
    fn close(&self, request: Request, close: Close) {
        if request.is_read() && request.data_len() > 0 {
            // There is nothing to send back.
            return request.complete(Err(EINVAL));
        }
        self.devices.close(close.device);
        request.complete(Ok(()));
    }

    /// Has the block layer execute a block request, or refuses it.
    fn io(&self, request: Request, io: &Io) {
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
        let mut inflight = Inflight::new(request, export);

        // There are bios for all requests of one path. More come in while a client goes
        // over to another path and the disk still works on those of the old one.
        while let Err((back, error)) = self.bios.submit(inflight, &command) {
            if error != EBUSY {
                return back.done(Err(error));
            }
            inflight = back;
            fsleep(Delta::from_millis(1));
        }
    }
}

/// Answers with `bytes`.
fn reply<const N: usize>(mut request: Request, bytes: Result<[u8; N]>) {
    let result = bytes.and_then(|bytes| request.write_reply(&bytes));

    request.complete(result);
}
