// SPDX-License-Identifier: GPL-2.0-only

//! Mapping and unmapping: what is written, and what is said when it fails.

mod machine;

use std::os::unix::fs::symlink;

use machine::Machine;

const MAP_DEVICE: &str = "/sys/class/rnbd-client/ctl/map_device";
const UNMAP_DEVICE: &str = "/sys/block/rnbd0/rnbd/unmap_device";

#[test]
fn map_writes_the_options_and_prints_the_node() {
    let machine = Machine::client();
    let output = machine.output(&[
        "map",
        "--session",
        "s1",
        "--path",
        "10.0.0.2",
        "-p",
        "fd00::1@fd00::2",
        "--ro",
        "--polled",
        "--port",
        "4321",
        "/dev/ram0",
    ]);

    assert_eq!(output, "/dev/rnbd0\n");
    assert_eq!(
        machine.content(MAP_DEVICE),
        "sessname=s1 path=ip:10.0.0.2 path=ip:fd00::1@ip:fd00::2 device_path=/dev/ram0 \
         dest_port=4321 access_mode=ro nr_poll_queues=-1"
    );
    let json = machine.json(&["map", "--session", "s1", "/dev/ram0"]);
    assert_eq!(json["devices"][0]["name"], "rnbd0");
    assert_eq!(
        machine.content(MAP_DEVICE),
        "sessname=s1 device_path=/dev/ram0"
    );
}

#[test]
fn wrong_options_write_nothing() {
    let machine = Machine::client();

    for (arguments, words) in [
        (&["-s", "a/b", "/dev/ram0"][..], &["sessname", "a/b"][..]),
        (&["-s", "a b", "/dev/ram0"], &["white space"]),
        (&["-s", "s1", ""], &["device_path has no value"]),
        (
            &["-s", "s1", "-p", "host", "/dev/ram0"],
            &["host", "gid:", "not looked up"],
        ),
        (
            &["-s", "s1", "-p", "10.0.0.2:1234", "/dev/ram0"],
            &["--port"],
        ),
        (
            &["-s", "s1", "-p", "10.0.0.2,10.0.1.2", "/dev/ram0"],
            &["several times"],
        ),
        (
            &["-s", "s1", "--polled=9", "/dev/ram0"],
            &["nr_poll_queues", "-1..4"],
        ),
        (&["-s", "s1", "--port", "65536", "/dev/ram0"], &["65536"]),
        (
            &["-s", "s1", "--ro", "--migration", "/dev/ram0"],
            &["--ro", "--migration"],
        ),
        (&["-s", "s1"], &["DEVICE_PATH"]),
        (&["/dev/ram0"], &["--session"]),
    ] {
        machine.run(&[&["map"], arguments].concat()).fails(2, words);
        assert_eq!(machine.content(MAP_DEVICE), "Usage: ...\n", "{arguments:?}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let machine = Machine::client();

    machine.refuse(MAP_DEVICE);
    machine
        .run(&["map", "-s", "s1", "/dev/ram0"])
        .fails(1, &["/dev/ram0", "s1", "next:"]);
    Machine::new()
        .run(&["map", "-s", "s1", "/dev/ram0"])
        .fails(5, &["modprobe rnbd_client"]);
    let machine = Machine::client();
    machine
        .run(&["map", "-s", "s1", "--wait=0", "/dev/ram0"])
        .fails(4, &["/dev/rnbd0 does not exist", "udev"]);
    machine
        .run(&["map", "-s", "s1", "/dev/other"])
        .fails(1, &["gone again"]);
}

#[test]
fn without_permission_it_is_root_who_may() {
    let machine = Machine::client();

    // Nobody may open this for writing, not even root.
    machine.remove(MAP_DEVICE);
    symlink("/sys/kernel/uevent_seqnum", machine.path(MAP_DEVICE)).expect("a link");
    machine
        .run(&["map", "-s", "s1", "/dev/ram0"])
        .fails(6, &["permission denied", "run rnbdctl as root"]);
}

#[test]
fn unmap_by_any_name() {
    let machine = Machine::client();

    machine.directory("/dev/disk/by-rnbd");
    machine.file("/dev/rnbd0", "");
    symlink("../../rnbd0", machine.path("/dev/disk/by-rnbd/data")).expect("a link");
    machine.file(
        "/etc/rnbd/rnbdtab",
        "data s1 - /dev/ram0\nspare s1 - /dev/b\n",
    );
    for name in [
        "rnbd0",
        "/dev/rnbd0",
        "/dev/ram0@s1",
        "/dev/disk/by-rnbd/data",
        "data",
    ] {
        machine.file(UNMAP_DEVICE, "");
        machine.output(&["unmap", name]);
        assert_eq!(machine.content(UNMAP_DEVICE), "normal", "{name}");
    }
    machine.output(&["unmap", "--force", "rnbd0"]);
    assert_eq!(machine.content(UNMAP_DEVICE), "force");
    for command in ["unmap", "show"] {
        machine
            .run(&[command, "spare"])
            .fails(3, &["spare of /etc/rnbd/rnbdtab", "rnbdctl attach spare"]);
    }
}

#[test]
fn unmap_all_and_several() {
    let machine = Machine::client();
    let other = "/sys/block/rnbd1/rnbd/unmap_device";

    machine.device("rnbd1", "/dev/ram1", "s1");
    machine.output(&["unmap", "--all"]);
    assert_eq!(
        (machine.content(UNMAP_DEVICE), machine.content(other)),
        ("normal".into(), "normal".into())
    );
    // One failure does not keep the others mapped.
    machine.file(other, "");
    machine.refuse(UNMAP_DEVICE);
    machine
        .run(&["unmap", "rnbd0", "rnbd1"])
        .fails(1, &["rnbd0"]);
    assert_eq!(machine.content(other), "normal");
    // A wrong name unmaps nothing.
    machine.file(other, "");
    machine
        .run(&["unmap", "rnbd1", "rnbd7"])
        .fails(3, &["rnbd7", "rnbdctl list"]);
    assert_eq!(machine.content(other), "");
    machine.run(&["unmap"]).fails(2, &["<DEVICES>"]);
    machine
        .run(&["unmap", "--all", "rnbd0"])
        .fails(2, &["--all"]);
}

#[test]
fn remap_and_resize() {
    let machine = Machine::client();

    machine.output(&["remap", "rnbd0"]);
    assert_eq!(machine.content("/sys/block/rnbd0/rnbd/remap_device"), "1");
    machine.output(&["resize", "rnbd0", "1G"]);
    assert_eq!(machine.content("/sys/block/rnbd0/rnbd/resize"), "2097152");
    machine
        .run(&["resize", "rnbd0", "1000"])
        .fails(2, &["1000", "unit"]);
    machine.run(&["resize", "rnbd7", "1G"]).fails(3, &["rnbd7"]);
}

#[test]
fn no_command_is_a_wrong_command_line() {
    let machine = Machine::new();

    machine.run(&[]).fails(2, &["Usage"]);
    machine.run(&["mop"]).fails(2, &["mop"]);
    // Exit codes are part of the help.
    assert!(machine.output(&["--help"]).contains("Exit codes"));
}
