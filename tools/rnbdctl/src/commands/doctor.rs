// SPDX-License-Identifier: GPL-2.0-only

//! Looks for what keeps RNBD from working on this machine.

mod exports;
mod network;
mod report;

use crate::{
    cli::EXPORTS,
    exports::RuleList,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    keys,
    model,
    output,
    rnbdtab,
    signing,
    system::System,
    udev, //
};

use super::attach;

use report::Report;

/// Checks the machine. Fails with the report if something is wrong.
pub(super) fn doctor(system: &System, json: bool) -> Result<String> {
    let mut report = Report::default();

    modules(system, &mut report);
    signatures(system, &mut report);
    network::rdma_devices(system, &mut report);
    exports::server(system, &mut report);
    devices(system, &mut report);
    udev(system, &mut report);
    table(system, &mut report);
    keys(system, &mut report);
    network::packets(system, &mut report);

    let text = match json {
        true => report.json()?,
        false => report.text(),
    };

    match report.problems() {
        0 => Ok(text),
        count => Err(Failure {
            done: text,
            ..Failure::new(Exit::Failed, format!("problems found: {count}"))
        }),
    }
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
            "`modprobe rnbd_client` to map devices; to export some, write rules to /etc/rnbd/exports, \
             then `systemctl enable --now rnbd-server`",
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

/// Mapped devices are open, and paths are connected.
fn devices(system: &System, report: &mut Report) {
    for device in model::mapped(system) {
        let state = output::cell(device.state);

        if state != "open" {
            report.wrong(
                "device",
                format!("{} is {state}", device.name),
                "it opens by itself once a path is connected, see below; if it does not, \
                 `rnbdctl remap` opens it",
            );
        }
    }
    for session in model::sessions(system) {
        let (up, all) = (session.paths_up(), session.paths.len());

        if all == 0 {
            report.wrong(
                "paths",
                format!("session {} has none", session.name),
                "`rnbdctl path add` gives it one",
            );
        } else if up < all {
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

/// udev knows the devices, so that file systems are found by UUID.
fn udev(system: &System, report: &mut Report) {
    match udev::rules(system) {
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

    match rnbdtab::read(system) {
        Ok(table) => {
            if !table.entries.is_empty() {
                report.ok("rnbdtab", format!("{} devices", table.entries.len()));
            }
            if let Some(failure) = table.failure() {
                report.wrong("rnbdtab", failure.message, &advice);
            }
            for (entry, reason) in attach::refused(system, &table) {
                report.wrong("rnbdtab", format!("{}: {reason}", entry.name), &advice);
            }
        }
        Err(failure) => report.wrong("rnbdtab", failure.message, &advice),
    }
}

/// The keys that rnbdtab and the export rules name are there.
fn keys(system: &System, report: &mut Report) {
    let table = rnbdtab::read(system).unwrap_or_default();
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
