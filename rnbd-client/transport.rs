// SPDX-License-Identifier: GPL-2.0-only

//! The connection of a session.

#![deny(unsafe_code)]

use crate::device::Device;
use crate::roster;
use crate::roster::Opened;
use crate::roster::Roster;
use core::ops::Deref;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::ModuleMetadata;
use rnbd_proto::text::map_device::MapOptions;
use rnbd_proto::wire::rnbd::OpenRsp;
use rtrs::client::Client;
use rtrs::client::Session;
use rtrs::client::SessionConfig;

/// A connected session of the transport, closed on drop.
pub(crate) struct Transport {
    session: Arc<Session>,
    roster: Arc<Roster>,
}

impl Transport {
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
            user: &crate::LocalModule::THIS_MODULE,
        };
        let roster = Roster::new(options.sessname.as_bytes())?;
        let session = Session::open(client, &config, roster.clone())?;
        let transport = Self { session, roster };
        roster::greet(&transport.session)?;
        Ok(transport)
    }

    /// The devices of the session.
    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Opens a device on the server.
    pub(crate) fn open(&self, device: &Arc<Device>) -> Result<(Opened, OpenRsp)> {
        self.roster.open(&self.session, device)
    }
}

impl Deref for Transport {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.session.close();
    }
}
