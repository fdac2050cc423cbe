// SPDX-License-Identifier: GPL-2.0-only

//! The connection of a session.

#![deny(unsafe_code)]

use crate::device::Device;
use crate::mq::TagSet;
use crate::open_devices;
use crate::open_devices::OpenDevices;
use core::ops::Deref;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::ModuleMetadata;
use rnbd_proto::text::map_device::MapOptions;
use rtrs::client::Client;
use rtrs::client::Session;
use rtrs::client::SessionConfig;

/// How devices get to the server. Does not keep the session connected.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    pub(crate) session: Arc<Session>,
    /// The devices of the session.
    pub(crate) roster: Arc<OpenDevices>,
    /// The requests that their disks share.
    pub(crate) tag_set: Arc<TagSet<Device>>,
}

/// A connected session of the transport, closed on drop.
pub(crate) struct RtrsSession {
    session: Arc<Session>,
    roster: Arc<OpenDevices>,
}

impl RtrsSession {
    /// Connects and greets the server.
    pub(crate) fn connect(client: &Client, options: &MapOptions<'_>) -> Result<Self> {
        let mut paths = KVec::new();
        for path in options.paths() {
            paths.push(path, GFP_KERNEL)?;
        }
        let config = SessionConfig {
            name: options.sessname,
            paths: &paths,
            port: options.dest_port,
            nr_poll_queues: options.nr_poll_queues,
            module: &crate::LocalModule::THIS_MODULE,
        };
        let roster = OpenDevices::new(options.sessname.as_bytes())?;
        let session = Session::open(client, &config, roster.clone())?;
        let transport = Self { session, roster };
        open_devices::greet(&transport.session)?;
        Ok(transport)
    }

    /// The way of devices with these requests.
    pub(crate) fn way(&self, tag_set: Arc<TagSet<Device>>) -> SessionHandle {
        SessionHandle {
            session: self.session.clone(),
            roster: self.roster.clone(),
            tag_set,
        }
    }
}

impl Deref for RtrsSession {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for RtrsSession {
    fn drop(&mut self) {
        self.session.close();
    }
}
