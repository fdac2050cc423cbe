// SPDX-License-Identifier: GPL-2.0-only

//! What systemd and udev ask for at boot.

mod machine;

use std::fs;

use machine::Machine;

const RNBDTAB: &str = "/etc/rnbd/rnbdtab";

#[test]
fn units_of_the_table() {
    let machine = Machine::new();
    let wants = "/units/remote-fs.target.wants";
    let directory = machine.path("/units").to_string_lossy().into_owned();
    let link = |name: &str| machine.path(&format!("{wants}/rnbd-attach@{name}.service"));

    machine.directory("/units");
    machine.output(&["units", &directory]);
    machine.file(
        RNBDTAB,
        "data s1 10.0.0.2 /dev/a _netdev\n\
         bad s1\n\
         hand s1 - /dev/b noauto\n\
         my-log.1 s1 - /dev/c nofail\n",
    );
    machine
        .run(&["units", &directory])
        .fails(2, &[RNBDTAB, "line 2", "fields"]);
    for name in ["data", "my-log.1"] {
        assert_eq!(
            fs::read_link(link(name)).expect("a link").to_string_lossy(),
            "/usr/lib/systemd/system/rnbd-attach@.service"
        );
    }
    assert!(fs::symlink_metadata(link("hand")).is_err());
    assert!(machine
        .content("/units/rnbd-attach@my-log.1.service.d/nofail.conf")
        .contains("[Service]\nType=exec\n"));
    assert!(!machine.path("/units/rnbd-attach@data.service.d").exists());
    machine
        .run(&["units", "/dev/null"])
        .fails(1, &["/dev/null"]);
}

#[test]
fn properties_of_a_device() {
    let machine = Machine::client();

    assert_eq!(
        machine.output(&["udev", "rnbd0"]),
        "RNBD_SESSION=s1\nRNBD_DEVICE=dev/ram0\n"
    );
    machine.file(
        RNBDTAB,
        "bad\nlog s2 - /dev/ram0\ndata s1 - /dev/ram0 noauto\n",
    );
    assert_eq!(
        machine.output(&["udev", "rnbd0"]),
        "RNBD_SESSION=s1\nRNBD_DEVICE=dev/ram0\nRNBD_NAME=data\n"
    );
    machine.run(&["udev", "rnbd7"]).fails(3, &["rnbd7"]);
}
