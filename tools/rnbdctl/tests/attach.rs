// SPDX-License-Identifier: GPL-2.0-only

//! Devices of rnbdtab.

mod machine;

use std::os::unix::fs::symlink;

use machine::Machine;

const RNBDTAB: &str = "/etc/rnbd/rnbdtab";
const MAP_DEVICE: &str = "/sys/class/rnbd-client/ctl/map_device";
const UNMAP_DEVICE: &str = "/sys/block/rnbd0/rnbd/unmap_device";

#[test]
fn attaching_what_is_attached_only_sets_it() {
    let machine = Machine::client();

    machine.file(
        RNBDTAB,
        "data s1 10.0.0.2 /dev/ram0 policy=round-robin,fast_io_fail_tmo=9\n",
    );
    assert_eq!(machine.output(&["attach", "data"]), "/dev/rnbd0\n");
    assert_eq!(machine.content(MAP_DEVICE), "Usage: ...\n");
    assert_eq!(
        machine.content("/sys/class/rtrs-client/s1/mpath_policy"),
        "round-robin"
    );
    assert_eq!(
        machine.content("/sys/class/rtrs-client/s1/fast_io_fail_tmo"),
        "9"
    );
}

#[test]
fn waiting_for_a_device_waits_for_its_link() {
    let machine = Machine::client();
    let uevent = "/sys/block/rnbd0/uevent";

    machine.file(RNBDTAB, "data s1 10.0.0.2 /dev/ram0\n");
    machine.file(uevent, "");
    machine.file("/dev/rnbd0", "");
    let attach = || machine.run(&["attach", "--wait=0", "data"]);

    // Without udev nobody makes links. A plain file is no node of a device.
    attach().fails(4, &["/dev/rnbd0 does not exist"]);
    assert_eq!(machine.content(uevent), "");

    machine.file("/run/udev/control", "");
    machine.file("/usr/lib/udev/rules.d/60-rnbd.rules", "");
    attach().fails(4, &["by-rnbd/data does not lead to /dev/rnbd0", "udev"]);
    assert_eq!(machine.content(uevent), "change");

    machine.directory("/dev/disk/by-rnbd");
    symlink("../../rnbd0", machine.path("/dev/disk/by-rnbd/data")).expect("a link");
    attach().fails(4, &["/dev/rnbd0 does not exist"]);
}

#[test]
fn attaching_writes_the_options() {
    let machine = Machine::client();

    machine.file(
        RNBDTAB,
        "data s1 10.0.0.2,10.0.1.1@10.0.1.2 /dev/new ro,port=4321,polled\n",
    );
    // No driver handles the write here, so the device does not appear.
    machine
        .run(&["attach", "data"])
        .fails(1, &["data: ", "gone again"]);
    assert_eq!(
        machine.content(MAP_DEVICE),
        "sessname=s1 path=ip:10.0.0.2 path=ip:10.0.1.1@ip:10.0.1.2 device_path=/dev/new \
         dest_port=4321 access_mode=ro nr_poll_queues=-1"
    );
}

#[test]
fn all_continue_after_a_failure() {
    let machine = Machine::client();

    machine.file(
        RNBDTAB,
        "new s1 nowhere /dev/new\ndata s1 - /dev/ram0\nold s1 - /dev/x noauto\n",
    );
    let run = machine.run(&["attach", "--all"]);
    run.fails(2, &["new: ", "nowhere"]);
    assert_eq!(run.text(), "/dev/rnbd0\n");
    machine.output(&["detach", "--all"]);
    assert_eq!(machine.content(UNMAP_DEVICE), "normal");
    // It is not mapped, so there is nothing to do.
    machine.output(&["detach", "new"]);
    machine.refuse(UNMAP_DEVICE);
    machine
        .run(&["detach", "data"])
        .fails(1, &["data: cannot unmap rnbd0"]);
}

#[test]
fn wrong_tables_and_names() {
    let machine = Machine::client();

    machine
        .run(&["attach", "data"])
        .fails(3, &[RNBDTAB, "data"]);
    machine.output(&["attach", "--all"]);
    machine.file(RNBDTAB, "bad s1 -\ndata s1 - /dev/ram0\n");
    for arguments in [["attach", "bad"], ["attach", "--all"]] {
        machine
            .run(&arguments)
            .fails(2, &[RNBDTAB, "line 1", "fields"]);
    }
    // The other lines count.
    assert_eq!(machine.output(&["attach", "data"]), "/dev/rnbd0\n");
    assert_eq!(machine.run(&["attach", "--all"]).text(), "/dev/rnbd0\n");
    machine.run(&["attach"]).fails(2, &["<NAMES>"]);
    machine.directory("/etc/rnbd");
    machine.remove(RNBDTAB);
    machine.directory(RNBDTAB);
    machine.run(&["detach", "--all"]).fails(1, &[RNBDTAB]);
}

#[test]
fn detaching_stops_the_unit() {
    let machine = Machine::client();
    let systemctl = |active: u8, stopped: u8| {
        let log = machine.path("/log");

        machine.program(
            "/usr/bin/systemctl",
            &format!(
                "echo $* >> {}; case $* in *is-active*) exit {active};; *) exit {stopped};; esac",
                log.display()
            ),
        );
        machine.file("/log", "");
    };
    let asked = "--quiet is-active rnbd-attach@data.service\n";
    let stopped = format!("{asked}stop rnbd-attach@data.service\n");

    machine.file(RNBDTAB, "data s1 - /dev/ram0\n");
    systemctl(0, 0);
    machine.output(&["detach", "data"]);
    assert_eq!(machine.content("/log"), stopped);
    // It is stopping, and calls the program.
    systemctl(3, 0);
    machine.output(&["detach", "data"]);
    assert_eq!(machine.content("/log"), asked);
    systemctl(0, 1);
    machine.run(&["detach", "data"]).fails(
        1,
        &["stays active", "systemctl stop rnbd-attach@data.service"],
    );
    // What stays mapped keeps its unit.
    systemctl(0, 0);
    machine.refuse(UNMAP_DEVICE);
    machine.run(&["detach", "data"]).fails(1, &["cannot unmap"]);
    assert_eq!(machine.content("/log"), "");
}

#[test]
fn saving_adds_a_line_that_attaches_the_disk() {
    let machine = Machine::client();
    let session = "/sys/class/rtrs-client/s1";

    // Without its end.
    machine.file(RNBDTAB, "# name session\nlog s9 - /dev/x");
    for (parameter, default) in [
        ("mp_policy", "min-inflight\n"),
        ("fast_io_fail_tmo", "120\n"),
        ("max_reconnect_attempts", "-1\n"),
    ] {
        machine.file(
            &format!("/sys/module/rnbd_client/parameters/{parameter}"),
            default,
        );
    }
    machine.file(&format!("{session}/key"), "web1\n");
    machine.file(&format!("{session}/fast_io_fail_tmo"), "off\n");
    machine.file("/sys/block/rnbd0/rnbd/access_mode", "ro\n");
    let line = "data s1 ip:10.0.0.2 /dev/ram0 ro,port=4321,key=web1,fast_io_fail_tmo=off\n";
    let said = machine.output(&["save", "rnbd0", "data", "--port", "4321"]);

    assert!(said.starts_with(line), "{said}");
    assert!(said.contains("to undo: delete its line"), "{said}");
    // It is mapped.
    assert!(!said.contains("systemctl start"), "{said}");
    assert_eq!(
        machine.content(RNBDTAB),
        format!("# name session\nlog s9 - /dev/x\n{line}")
    );
    assert_eq!(machine.output(&["attach", "data"]), "/dev/rnbd0\n");
    machine
        .run(&["save", "rnbd0", "other"])
        .fails(2, &["already, as data"]);

    // A second path: both keep their way, and the table need not exist.
    machine.remove(RNBDTAB);
    machine.client_path("s1", "ip:10.0.1.1@ip:10.0.1.2", "connected");
    machine.file("/sys/block/rnbd0/rnbd/access_mode", "rw\n");
    let said = machine.output(&["save", "/dev/rnbd0", "data"]);

    assert!(
        said.starts_with(
            "data s1 ip:10.0.0.1@ip:10.0.0.2,ip:10.0.1.1@ip:10.0.1.2 /dev/ram0 \
             key=web1,fast_io_fail_tmo=off\n"
        ),
        "{said}"
    );
}

#[test]
fn saving_refuses_what_is_no_line() {
    let machine = Machine::client();

    machine
        .run(&["save", "rnbd7", "data"])
        .fails(3, &["no mapped device is named rnbd7"]);
    for name in ["a/b", "my data", "", ".a"] {
        machine
            .run(&["save", "rnbd0", name])
            .fails(2, &[&format!("name '{name}': letters, digits")]);
    }
    machine.file(RNBDTAB, "data s9 - /dev/x\n");
    machine
        .run(&["save", "rnbd0", "data"])
        .fails(2, &["another device data", "choose another name"]);
    assert_eq!(machine.content(RNBDTAB), "data s9 - /dev/x\n");
}
