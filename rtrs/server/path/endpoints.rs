// SPDX-License-Identifier: GPL-2.0-only

//! The two addresses of a path.

use kernel::{
    fmt,
    prelude::*, //
};

use rnbd_proto::peer_group::PeerGroup;

use crate::kernel_ext::{
    log::LogPeer,
    net::SockAddr, //
};

/// The addresses of a path, as the server sees them.
#[derive(Clone, Copy)]
pub(in crate::server) struct Endpoints {
    /// Address of the server.
    pub(in crate::server) src: SockAddr,
    /// Address of the client.
    pub(in crate::server) dst: SockAddr,
}

impl Endpoints {
    /// Returns the address of the client, without its port.
    pub(in crate::server) fn peer(&self) -> SockAddr {
        self.dst.with_port(0)
    }

    /// Returns what the client counts as for quotas and log budgets.
    pub(in crate::server) fn group(&self) -> PeerGroup {
        self.dst
            .path_end()
            .map_or(PeerGroup::UNKNOWN, PeerGroup::from)
    }

    /// Returns whether both connect the same two hosts, whatever the ports.
    pub(in crate::server) fn same_hosts(&self, other: &Self) -> bool {
        self.src.with_port(0) == other.src.with_port(0)
            && self.dst.with_port(0) == other.dst.with_port(0)
    }
}

impl LogPeer for Endpoints {
    fn log_key(&self) -> u64 {
        self.group().key()
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}@{}", self.src, self.dst))
    }
}
