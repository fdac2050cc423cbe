// SPDX-License-Identifier: GPL-2.0-only

//! Export rules: shown, checked against the machine, loaded.

mod machine;

use std::os::unix::fs::symlink;

use machine::Machine;
use serde_json::json;

const EXPORT_RULES: &str = "/sys/class/rnbd-server/ctl/export_rules";
const FILE: &str = "/etc/rnbd/exports";

fn server() -> Machine {
    let machine = Machine::server();

    machine.file("/sys/class/block/dm-3/size", "8\n");
    machine.file("/sys/class/block/loop0/size", "0\n");
    machine.file("/dev/dm-3", "");
    machine.directory("/dev/vg");
    symlink("../dm-3", machine.path("/dev/vg/web")).expect("a link");
    machine
}

#[test]
fn show_prints_the_list() {
    let machine = server();

    assert_eq!(machine.output(&["rules", "show"]), "default\n");
    assert_eq!(
        machine.json(&["rules", "show"]),
        json!({"version": 1, "lines": ["default"]})
    );
    machine.remove(EXPORT_RULES);
    machine.run(&["rules", "show"]).fails(5, &["C driver"]);
    Machine::client()
        .run(&["rules", "show"])
        .fails(5, &["modprobe rnbd_server"]);
}

#[test]
fn load_replaces_the_list_at_once() {
    let machine = server();

    machine.file(FILE, "# ours\nallow device=/dev/vg/web ro\ndeny\n");
    machine.output(&["rules", "load"]);
    assert_eq!(
        machine.content(EXPORT_RULES),
        "clear\nallow device=/dev/vg/web ro\ndeny\n"
    );
    machine.file("/tmp/other", "default\n");
    machine.output(&["rules", "load", "/tmp/other"]);
    assert_eq!(machine.content(EXPORT_RULES), "default\n");
    // A wrong line changes nothing.
    machine.file(FILE, "allow\nallow user=root\n");
    machine
        .run(&["rules", "load"])
        .fails(2, &["line 2", "user=root", FILE]);
    assert_eq!(machine.content(EXPORT_RULES), "default\n");
    machine
        .run(&["rules", "load", "/nowhere"])
        .fails(3, &["/nowhere"]);
}

#[test]
fn check_says_who_may_have_what() {
    let machine = server();

    machine.file(
        FILE,
        "deny device=/dev/vg/*\nallow session=s* from=10.0.0.0/8 ro\n",
    );
    assert_eq!(
        machine.output(&["rules", "check"]),
        "\
RULE  MAY   SESSION  FROM        DEVICES NOW
1     none  any      anywhere    /dev/dm-3
2     ro    s*       10.0.0.0/8  /dev/dm-3 /dev/ram0
warning: rule 1 does not keep a client from /dev/dm-3 if it asks by that name
The first rule that matches decides; what no rule matches is denied.
"
    );
    let rules = machine.json(&["rules", "check"]);
    assert_eq!(rules["default"], false);
    assert_eq!(
        rules["rules"][0],
        json!({
            "number": 1, "text": "deny device=/dev/vg/*", "permission": "none",
            "session": null, "from": null,
            "devices": [{"node": "/dev/dm-3", "links": ["/dev/vg/web"]}],
            "avoidable": ["/dev/dm-3"],
        })
    );
    // It needs no driver, and loads nothing.
    assert_eq!(machine.content(EXPORT_RULES), "default\n");
    machine.file(FILE, "");
    assert!(machine
        .output(&["rules", "check"])
        .contains("no client may open any device"));
}

#[test]
fn check_of_one_client() {
    let machine = server();
    let check = |from: &str| {
        machine.json(&["rules", "check", "--session", "s1", "--from", from])["decisions"].clone()
    };

    machine.file(FILE, "allow from=10.0.0.0/8 device=/dev/vg/web\n");
    assert_eq!(check("10.1.1.1")[0]["permission"], "rw");
    assert_eq!(check("ip:10.1.1.1")[1]["permission"], "none");
    assert_eq!(check("fd00::1")[0]["permission"], "none");
    machine
        .run(&["rules", "check", "--session", "s1"])
        .fails(2, &["--from"]);
    machine
        .run(&["rules", "check", "--session", "s1", "--from", "x"])
        .fails(2, &["'x'"]);
    machine
        .run(&["rules", "check", "--session", "a/b", "--from", "::1"])
        .fails(2, &["a/b"]);
}
