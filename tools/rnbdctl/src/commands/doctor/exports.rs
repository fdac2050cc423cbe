// SPDX-License-Identifier: GPL-2.0-only

//! What the server exports, now and after a reboot.

use crate::{
    cli::EXPORTS,
    exports::RuleList,
    output,
    system::System, //
};

use super::report::Report;

/// The unit that loads the server and its rules at boot, and where it is if it is installed.
const UNIT: &str = "rnbd-server.service";
const UNITS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Where units that are enabled have links.
const SYSTEMD: &str = "/etc/systemd/system";

/// What the server listens on, and who may have what.
pub(super) fn server(system: &System, report: &mut Report) {
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
    rules(
        &system
            .value("/sys/class/rnbd-server/ctl/export_rules")
            .unwrap_or_default(),
        parameter("export_default").as_deref() == Some("deny"),
        report,
    );
    boot(system, report);
}

/// The rules that the server has, or what holds without rules.
fn rules(text: &str, denies: bool, report: &mut Report) {
    let what = "export rules";
    let write =
        "write rules to /etc/rnbd/exports, then `rnbdctl rules check` and `rnbdctl rules load`";
    let list = match RuleList::parse(text) {
        Ok(list) => list,
        Err(reason) => {
            let found = format!("those of the server are not understood, {reason}");

            return report.note(what, found, "use the rnbdctl that came with the modules");
        }
    };

    match (list.is_default(), list.count()) {
        (true, _) if !denies => report.note(
            what,
            "none: every client may open every block device of this machine, also those it uses",
            write,
        ),
        (true, _) | (false, 0) => {
            report.note(what, "none, so no client may open any device", write);
        }
        (false, count) => report.ok(what, format!("{count}; what none of them allows is denied")),
    }
}

/// The file has rules that can be loaded, and they are loaded at boot.
fn boot(system: &System, report: &mut Report) {
    let text = system.read(EXPORTS).unwrap_or_default();

    if let Err(reason) = RuleList::parse(&text) {
        report.wrong(
            "export rules",
            format!("{EXPORTS}, {reason}"),
            "correct it: the server is not started with it",
        );
    }
    let installed = UNITS
        .iter()
        .any(|directory| system.exists(&format!("{directory}/{UNIT}")));
    let wanted = system
        .names(SYSTEMD)
        .into_iter()
        .any(|name| name.ends_with(".wants") && system.exists(&format!("{SYSTEMD}/{name}/{UNIT}")));

    if installed && !wanted {
        report.note(
            "server",
            "it does not start at boot",
            "`systemctl enable rnbd-server`",
        );
    }
}
