// SPDX-License-Identifier: GPL-2.0-only

//! Devices of rnbdtab.

mod machine;

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
