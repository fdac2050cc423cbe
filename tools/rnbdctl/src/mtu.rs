// SPDX-License-Identifier: GPL-2.0-only

//! Whether packets as long as those of RoCE arrive at another machine.
//!
//! A datagram to a port that no program listens on is answered by a message of ICMP, which its
//! socket reports as `ECONNREFUSED`. Short ones that are answered and long ones that are not tell
//! a smaller MTU from a firewall.

use std::{
    io::ErrorKind,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr,
        UdpSocket, //
    },
    time::Duration, //
};

use crate::{
    rdma,
    system::System, //
};

/// A port that traceroute uses, as no program listens on it.
const PORT: u16 = 33434;

/// Datagrams until the other machine counts as silent, and the time to wait for each answer.
const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of data in a packet of RoCE, the largest first, and of all headers at most.
const PAYLOADS: [usize; 5] = [4096, 2048, 1024, 512, 256];
const HEADERS: usize = 84;

/// What was found about packets to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The network interface, and its MTU.
    pub(crate) interface: String,
    pub(crate) mtu: usize,
    /// Length of the long packets.
    pub(crate) length: usize,
    /// Whether they arrive.
    pub(crate) arrives: bool,
}

/// Sends packets to a machine; returns nothing if it does not answer, or if the packets do not
/// leave by an RDMA device whose own packets would be alike.
pub(crate) fn probe(system: &System, destination: IpAddr) -> Option<Probe> {
    let any: IpAddr = match destination {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;

    socket.connect((destination, PORT)).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    let interface = roce_interface(system, source)?;
    let mtu = system.number(&format!("/sys/class/net/{interface}/mtu"))?;
    let length = longest(mtu)?;

    arrives(&socket, 0).then(|| Probe {
        arrives: arrives(&socket, length - ip_headers(destination)),
        interface,
        mtu,
        length,
    })
}

/// Returns whether a datagram with this many bytes is answered.
fn arrives(socket: &UdpSocket, bytes: usize) -> bool {
    let data = vec![0; bytes];

    (0..ATTEMPTS).any(|_| {
        // An error here may be the answer to an earlier one.
        socket.send(&data).is_ok()
            && socket
                .recv(&mut [0])
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    })
}

/// Returns the length of the longest packet of RoCE with this MTU.
fn longest(mtu: usize) -> Option<usize> {
    let mut lengths = PAYLOADS.iter().map(|payload| payload + HEADERS);

    lengths.find(|length| *length <= mtu)
}

/// Returns the bytes before the data of a datagram.
fn ip_headers(destination: IpAddr) -> usize {
    let udp = 8;

    udp + if destination.is_ipv4() { 20 } else { 40 }
}

/// Returns the network interface by which an RDMA device sends packets of RoCE from an address.
fn roce_interface(system: &System, source: IpAddr) -> Option<String> {
    rdma::ports(system).into_iter().find_map(|port| {
        let directory = port.directory;
        let mut indices = system.names(&format!("{directory}/gids")).into_iter();

        indices.find_map(|index| {
            let value = |file: &str| system.value(&format!("{directory}/{file}/{index}"));
            let same = rdma::gid_address(&value("gids")?)? == source;

            // A port without Ethernet has types without it.
            (same && value("gid_attrs/types")?.contains("RoCE v2"))
                .then(|| value("gid_attrs/ndevs"))?
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_packets() {
        assert_eq!(longest(9000), Some(4180));
        assert_eq!(longest(4200), Some(4180));
        assert_eq!(longest(1500), Some(1108));
        assert_eq!(longest(100), None);
    }
}
