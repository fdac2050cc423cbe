// SPDX-License-Identifier: GPL-2.0-only

//! RDMA devices, and packets to other machines.

use std::{
    collections::BTreeMap,
    net::IpAddr, //
};

use crate::{
    model::{
        self,
        Side, //
    },
    mtu,
    output,
    rdma::{
        self,
        Port, //
    },
    rnbdtab,
    system::System, //
};

use super::report::Report;

/// An RDMA device has a port that is up.
pub(super) fn rdma_devices(system: &System, report: &mut Report) {
    let names = rdma::devices(system);
    let mut active = 0;

    for Port { name, directory } in rdma::ports(system) {
        let state = system
            .value(&format!("{directory}/state"))
            .unwrap_or_default();
        let what = format!("{name} {state}{}", describe(system, &directory));

        if state.ends_with("ACTIVE") {
            active += 1;
            report.ok("RDMA port", what);
        } else {
            report.note(
                "RDMA port",
                what,
                "set its network interface up; look at cable and switch",
            );
        }
    }
    if names.is_empty() {
        report.wrong(
            "RDMA",
            "there is no RDMA device",
            "load the driver of the card, or make a soft one: `rdma link add rxe0 type rxe netdev eth0`",
        );
    } else if active == 0 {
        report.wrong(
            "RDMA",
            "no port is active",
            "set a network interface of an RDMA device up",
        );
    }
}

/// Returns network interface, MTU and addresses of a port.
fn describe(system: &System, port: &str) -> String {
    let mut text = String::new();
    let mut interfaces: Vec<String> = system
        .names(&format!("{port}/gid_attrs/ndevs"))
        .iter()
        .filter_map(|index| system.value(&format!("{port}/gid_attrs/ndevs/{index}")))
        .collect();

    interfaces.dedup();
    interfaces.sort();
    interfaces.dedup();
    for interface in interfaces {
        let mtu = system.value(&format!("/sys/class/net/{interface}/mtu"));

        text += &format!(", {interface} with MTU {}", output::cell(mtu));
    }
    let gids = system.names(&format!("{port}/gids"));
    let mut addresses: Vec<String> = gids
        .iter()
        .filter_map(|index| system.value(&format!("{port}/gids/{index}")))
        .filter_map(|gid| rdma::gid_address(&gid))
        .map(|address| address.to_string())
        .collect();

    addresses.sort();
    addresses.dedup();
    if !addresses.is_empty() {
        text += &format!(", {}", addresses.join(" "));
    }
    text
}

/// Long packets arrive at the other ends of sessions, and at the servers of the table. A session
/// that cannot be connected is in the table only.
pub(super) fn packets(system: &System, report: &mut Report) {
    let table = rnbdtab::read(system).unwrap_or_default();
    let sessions = model::sessions(system).into_iter();
    let paths = sessions.flat_map(|session| session.paths);
    let known = paths.filter_map(|path| {
        let up = path.is_up();
        let address = match path.side {
            Side::Client => path.dst_addr,
            Side::Server => path.src_addr,
        };

        Some((ip_address(&address?)?, up))
    });
    let named = table.entries.into_iter().flat_map(|entry| entry.paths);
    let named = named.filter_map(|path| Some((ip_address(&path)?, true)));
    let mut peers: BTreeMap<IpAddr, bool> = BTreeMap::new();

    for (peer, up) in known.chain(named) {
        *peers.entry(peer).or_insert(true) &= up;
    }
    for (peer, up) in peers {
        let Some(probe) = mtu::probe(system, peer) else {
            continue;
        };
        let (interface, length, mtu) = (probe.interface, probe.length, probe.mtu);

        if probe.arrives && !up {
            report.note(
                "MTU",
                format!(
                    "packets of {length} bytes from {interface} arrive at {peer}, but a path there \
                     is down, and the MTU of the other machine is not known"
                ),
                &format!("compare `ip link` there: {interface} has an MTU of {mtu}"),
            );
        } else if probe.arrives {
            report.ok(
                "MTU",
                format!("packets of {length} bytes from {interface} arrive at {peer}"),
            );
        } else {
            report.wrong(
                "MTU",
                format!(
                    "{peer} answers short packets, but none of {length} bytes; {interface} has \
                     an MTU of {mtu}"
                ),
                "set the same MTU on both machines, and no smaller one on the switches between",
            );
        }
    }
}

/// Returns an address, or the one of the server in a path, `[<source>@][ip:]<address>`.
fn ip_address(text: &str) -> Option<IpAddr> {
    let address = text.rsplit('@').next()?;

    address.strip_prefix("ip:").unwrap_or(address).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_paths() {
        let server: IpAddr = [10, 50, 100, 66].into();

        for path in [
            "10.50.100.66",
            "ip:10.50.100.66",
            "ip:10.0.0.1@ip:10.50.100.66",
        ] {
            assert_eq!(ip_address(path), Some(server), "{path}");
        }
        assert_eq!(ip_address("gid:fe80::1"), None);
        assert_eq!(ip_address("fe80::1%eth0"), None);
    }
}
