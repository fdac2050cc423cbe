// SPDX-License-Identifier: GPL-2.0-only

//! The connection of a session, and the control messages sent over it.

#![deny(unsafe_code)]

use core::ops::Deref;
use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::error::WireError;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::wire::rnbd::Close;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::Open;
use rnbd_proto::wire::rnbd::OpenRsp;
use rnbd_proto::wire::rnbd::SessInfo;
use rnbd_proto::wire::rnbd::SessInfoRsp;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rnbd_proto::wire::rnbd::SESS_INFO_RSP_SIZE;
use rtrs::client::Dir;
use rtrs::client::Events;
use rtrs::client::Session;
use rtrs::client::SessionConfig;
use rtrs::support::log::Plain;

/// A connected session of the transport, closed on drop.
pub(crate) struct Transport(Arc<Session>);

impl Transport {
    /// Connects and greets the server.
    pub(crate) fn connect(options: &MapOptions<'_>) -> Result<Self> {
        let mut paths = KVec::new();
        for path in options.paths() {
            paths.push(path, GFP_KERNEL)?;
        }
        let mut name = KVec::new();
        name.extend_from_slice(options.sessname.as_bytes(), GFP_KERNEL)?;
        let config = SessionConfig {
            name: options.sessname,
            paths: &paths,
            port: options.dest_port,
            nr_poll_queues: options.nr_poll_queues,
        };
        let watcher = Arc::new(Watcher { name }, GFP_KERNEL)?;
        let transport = Self(Session::open(&config, watcher)?);
        transport.greet()?;
        Ok(transport)
    }

    /// Exchanges protocol versions.
    fn greet(&self) -> Result {
        let mut reply = [0; SESS_INFO_RSP_SIZE];
        let len = self
            .0
            .call(Dir::Read, &SessInfo::OURS.encode(), &mut reply)?;
        SessInfoRsp::parse(reply.get(..len).ok_or(EPROTO)?).map_err(refused)?;
        Ok(())
    }

    /// Opens a device on the server.
    pub(crate) fn open(&self, open: &Open<'_>) -> Result<(Opened, OpenRsp)> {
        let mut reply = [0; OPEN_RSP_SIZE];
        let len = self.0.call(Dir::Read, &open.encode(), &mut reply)?;
        let answer = OpenRsp::parse(reply.get(..len).ok_or(EPROTO)?).map_err(refused)?;
        let opened = Opened {
            session: self.0.clone(),
            id: answer.device,
        };
        Ok((opened, answer))
    }

    /// A reference for a device's I/O, which fails once this object is dropped.
    pub(crate) fn session(&self) -> Arc<Session> {
        self.0.clone()
    }
}

impl Deref for Transport {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The error for an answer that makes no sense.
fn refused(err: WireError) -> Error {
    pr_err!("bad answer of the server: {}\n", Plain(err));
    EPROTO
}

/// A device that the server has opened for us, closed on drop.
pub(crate) struct Opened {
    session: Arc<Session>,
    id: DeviceId,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A server closes the devices of a session that ends.
        if !self.session.is_connected() {
            return;
        }
        let close = Close { device: self.id }.encode();
        if let Err(err) = self.session.call(Dir::Write, &close, &mut []) {
            pr_warn!(
                "closing device {} on the server: {:?}\n",
                Plain(self.id),
                err
            );
        }
    }
}

/// Hears from the transport.
///
/// There is nothing to do but to tell: I/O fails by itself, and devices ask the
/// transport when somebody reads their state.
struct Watcher {
    name: KVec<u8>,
}

impl Events for Watcher {
    fn disconnected(&self) {
        pr_warn!(
            "session {}: disconnected, I/O on its devices fails\n",
            Plain(self.name.escape_ascii())
        );
    }
}
