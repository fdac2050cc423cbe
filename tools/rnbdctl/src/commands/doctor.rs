// SPDX-License-Identifier: GPL-2.0-only

//! Looks for what keeps RNBD from working on this machine.

use std::{
    collections::BTreeSet,
    net::IpAddr, //
};

use serde::Serialize;

use crate::{
    cli::EXPORTS,
    exports::RuleList,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    keys,
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
    signing,
    system::System, //
};

use super::attach;

/// Where udev's rules are.
const UDEV: [&str; 3] = [
    "/etc/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, but perhaps not as the user wants.
    Note,
    /// It cannot work.
    Wrong,
}

/// What was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

/// All checks so far.
#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.add(what, Verdict::Ok, found.into(), None);
    }

    fn note(&mut self, what: &'static str, found: impl Into<String>, advice: &str) {
        self.add(what, Verdict::Note, found.into(), Some(advice.into()));
    }

    fn wrong(&mut self, what: &'static str, found: impl Into<String>, advice: &str) {
        self.add(what, Verdict::Wrong, found.into(), Some(advice.into()));
    }

    fn add(&mut self, what: &'static str, verdict: Verdict, found: String, advice: Option<String>) {
        self.0.push(Check {
            what,
            verdict,
            found,
            advice,
        });
    }
}

/// Checks the machine. Fails with the report if something is wrong.
pub(super) fn doctor(system: &System, json: bool) -> Result<String> {
    let mut report = Report::default();

    modules(system, &mut report);
    signatures(system, &mut report);
    rdma_devices(system, &mut report);
    server(system, &mut report);
    devices(system, &mut report);
    udev(system, &mut report);
    table(system, &mut report);
    keys(system, &mut report);
    packets(system, &mut report);

    let text = if json {
        output::json([("checks", &report.0)])?
    } else {
        print(&report)
    };
    let wrong = report.0.iter().filter(|it| it.verdict == Verdict::Wrong);

    match wrong.count() {
        0 => Ok(text),
        count => Err(Failure {
            done: text,
            ..Failure::new(Exit::Failed, format!("problems found: {count}"))
        }),
    }
}

fn print(report: &Report) -> String {
    let mut text = String::new();

    for check in &report.0 {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };

        text += &format!("{word:5}  {}: {}\n", check.what, check.found);
        if let Some(advice) = &check.advice {
            text += &format!("       next: {advice}\n");
        }
    }
    text
}

/// The modules are loaded, and of one version.
fn modules(system: &System, report: &mut Report) {
    let loaded = |name: &str| system.exists(&format!("/sys/module/{name}/refcnt"));
    let version = |name: &str| system.value(&format!("/sys/module/{name}/version"));
    let ends = ["rnbd_client", "rnbd_server"];
    let ends: Vec<&str> = ends.into_iter().filter(|name| loaded(name)).collect();

    if ends.is_empty() {
        report.wrong(
            "modules",
            "neither rnbd_client nor rnbd_server is loaded",
            "`modprobe rnbd_client` to map devices, `modprobe rnbd_server` to export them",
        );
        return;
    }
    let kernel = system
        .value("/proc/sys/kernel/osrelease")
        .unwrap_or_default();
    let mut versions: Vec<String> = ends
        .iter()
        .chain(&["rtrs"])
        .filter_map(|it| version(it))
        .collect();

    versions.sort();
    versions.dedup();
    let names = ends.join(", ");

    match versions.as_slice() {
        [_, _, ..] => report.wrong(
            "modules",
            format!(
                "{names} and rtrs have different versions: {}",
                versions.join(", ")
            ),
            "unload all, run depmod, load them again",
        ),
        [one] => report.ok("modules", format!("{names} {one}, kernel {kernel}")),
        [] => report.ok(
            "modules",
            format!("{names} without a version (C drivers), kernel {kernel}"),
        ),
    }
}

/// The kernel trusts the modules' signatures, if it insists on some.
fn signatures(system: &System, report: &mut Report) {
    let what = "signatures";
    let Some(reason) = signing::required_by(system) else {
        return;
    };
    let kernel = system
        .value("/proc/sys/kernel/osrelease")
        .unwrap_or_default();
    let dkms = system.names(&format!("/lib/modules/{kernel}/updates/dkms"));

    if system.exists("/sys/module/rtrs/refcnt") {
        report.ok(what, format!("{reason} requires them, and trusts rtrs"));
    } else if dkms.iter().any(|name| name.starts_with("rtrs.ko")) {
        let certificate = signing::certificate(system);
        let import = format!("`mokutil --import {certificate}`, reboot, and choose Enroll MOK");

        match signing::enrolled(system, &certificate) {
            Some(true) => report.ok(
                what,
                format!("{reason} requires them, and DKMS's key is enrolled"),
            ),
            Some(false) => report.wrong(
                what,
                format!("{reason} refuses the modules, as DKMS's key is not enrolled"),
                &import,
            ),
            None => report.note(
                what,
                format!("{reason} requires them, and {certificate} is no certificate in DER"),
                "name that of DKMS's key by mok_certificate in /etc/dkms/framework.conf.d/",
            ),
        }
    } else {
        report.note(
            what,
            format!("{reason} refuses modules without a key that it trusts"),
            "install rnbd-dkms, which signs them; `modinfo -F signer rtrs` names the key",
        );
    }
}

/// An RDMA device has a port that is up.
fn rdma_devices(system: &System, report: &mut Report) {
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

/// What the server listens on, and who may have what.
fn server(system: &System, report: &mut Report) {
    if !system.exists("/sys/class/rnbd-server") {
        return;
    }
    let parameter =
        |name: &str| system.value(&format!("/sys/module/rnbd_server/parameters/{name}"));

    report.ok(
        "server",
        format!(
            "port {}, devices below {}",
            output::cell(parameter("port_nr")),
            output::cell(parameter("dev_search_path"))
        ),
    );
    match system.value("/sys/class/rnbd-server/ctl/export_rules") {
        Some(rules) if rules.trim() != "default" => {
            report.ok("export rules", format!("{} lines", rules.lines().count()));
        }
        _ if parameter("export_default").as_deref() == Some("deny") => report.note(
            "export rules",
            "no client may open any device",
            "write /etc/rnbd/exports, then `rnbdctl rules check` and `rnbdctl rules load`",
        ),
        _ => report.note(
            "export rules",
            "every client may open every block device",
            "write /etc/rnbd/exports, then `rnbdctl rules check` and `rnbdctl rules load`",
        ),
    }
}

/// Mapped devices are open, and paths are connected.
fn devices(system: &System, report: &mut Report) {
    for device in model::mapped(system) {
        let state = output::cell(device.state);

        if state != "open" {
            report.wrong(
                "device",
                format!("{} is {state}", device.name),
                "`rnbdctl paths` shows the paths; once one is connected, `rnbdctl remap` opens it",
            );
        }
    }
    for session in model::sessions(system) {
        let (up, all) = (session.paths_up(), session.paths.len());

        if up < all {
            report.note(
                "paths",
                format!(
                    "{} of {all} paths of session {} are down",
                    all - up,
                    session.name
                ),
                "`rnbdctl path connect` tries one at once and says why it fails",
            );
        } else {
            let side = session.side.as_str();

            report.ok(
                "session",
                format!("{} ({side}), paths connected: {up}", session.name),
            );
        }
    }
}

/// Long packets arrive at the other ends of sessions, and at the servers of the table. A session
/// that cannot be connected is in the table only.
fn packets(system: &System, report: &mut Report) {
    let table = attach::read(system).unwrap_or_default();
    let sessions = model::sessions(system).into_iter();
    let paths = sessions.flat_map(|session| session.paths);
    let connected = paths.filter_map(|path| match path.side {
        Side::Client => path.dst_addr,
        Side::Server => path.src_addr,
    });
    let named = table.entries.into_iter().flat_map(|entry| entry.paths);
    let peers: BTreeSet<IpAddr> = connected
        .chain(named)
        .filter_map(|text| ip_address(&text))
        .collect();

    for peer in peers {
        let Some(probe) = mtu::probe(system, peer) else {
            continue;
        };
        let (interface, length, mtu) = (probe.interface, probe.length, probe.mtu);

        if probe.arrives {
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

/// udev knows the devices, so that file systems are found by UUID.
fn udev(system: &System, report: &mut Report) {
    let mut files = UDEV.iter().flat_map(|directory| system.names(directory));

    match files.find(|name| name.contains("rnbd")) {
        Some(name) => report.ok("udev", name),
        None => report.note(
            "udev",
            "no rules for rnbd: file systems and volumes on the devices are not found by UUID",
            "install the rules, or name the devices by their nodes",
        ),
    }
}

/// The table is right, and its devices are mapped.
fn table(system: &System, report: &mut Report) {
    let advice = format!("correct {}", rnbdtab::PATH);

    match attach::read(system) {
        Ok(table) => {
            if !table.entries.is_empty() {
                report.ok("rnbdtab", format!("{} devices", table.entries.len()));
            }
            if let Some(failure) = attach::failure(&table) {
                report.wrong("rnbdtab", failure.message, &advice);
            }
        }
        Err(failure) => report.wrong("rnbdtab", failure.message, &advice),
    }
}

/// The keys that rnbdtab and the export rules name are there.
fn keys(system: &System, report: &mut Report) {
    let table = attach::read(system).unwrap_or_default();
    let rules = system.value(EXPORTS).unwrap_or_default();
    let entries = table.entries.into_iter();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.options.key).collect();

    names.extend(RuleList::parse(&rules).unwrap_or_default().keys());
    names.sort();
    names.dedup();
    let loaded = keys::loaded(system);

    for name in names {
        match keys::read(system, &name) {
            Ok(_) => report.ok("key", keys::file(&name)),
            Err(failure) if failure.exit == Exit::NotFound && loaded.contains(&name) => {
                report.note(
                    "key",
                    format!("the kernel has {name}, but there is no file of it"),
                    "it is gone after a reboot: copy the file from the other machine",
                );
            }
            Err(failure) => report.wrong(
                "key",
                failure.message,
                failure.advice.as_deref().unwrap_or_default(),
            ),
        }
    }
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
