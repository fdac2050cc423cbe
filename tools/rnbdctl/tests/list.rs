// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows, as tables and as JSON.

mod machine;

use machine::{
    Machine,
    PATH, //
};
use serde_json::json;

#[test]
fn table_of_devices() {
    let machine = Machine::client();

    machine.device("rnbd10", "/dev/vg/a", "s1");
    machine.device("rnbd9", "/dev/vg/b", "s1");
    machine.client_path("s1", "ip:10.0.1.1@ip:10.0.1.2", "disconnected");
    assert_eq!(
        machine.output(&["list"]),
        "\
DEVICE       SIZE    STATE  MODE  SESSION  ON SERVER  PATHS UP
/dev/rnbd0   16 MiB  open   rw    s1       /dev/ram0  1/2
/dev/rnbd9   16 MiB  open   rw    s1       /dev/vg/b  1/2
/dev/rnbd10  16 MiB  open   rw    s1       /dev/vg/a  1/2
"
    );
}

#[test]
fn json_of_a_client() {
    let machine = Machine::client();
    let path = json!({
        "side": "client", "session": "s1", "name": PATH, "state": "connected",
        "hca_name": "mlx5_0", "hca_port": 1,
        "src_addr": "ip:10.0.0.1", "dst_addr": "ip:10.0.0.2", "latency_ns": 12345,
        "traffic": {
            "reads": 1, "read_bytes": 4096, "writes": 2, "written_bytes": 8192,
            "in_flight": 3, "failovers": 4,
        },
        "reconnects": {"successful": 1, "failed": 2},
        "polled": 7,
    });
    let session = json!({
        "side": "client", "name": "s1", "devices": ["rnbd0"], "key": null, "policy": "min-inflight",
        "max_reconnect_attempts": -1, "fast_io_fail_tmo": 120, "pinned_memory": null,
        "paths": [path],
    });
    let device = json!({
        "name": "rnbd0", "node": "/dev/rnbd0", "state": "open", "size": 16777216,
        "access_mode": "rw", "session": "s1", "device_path": "/dev/ram0", "poll_queues": 0,
        "io": {
            "reads": 5, "read_bytes": 8192, "read_ms": 7,
            "writes": 3, "written_bytes": 4096, "write_ms": 9, "in_flight": 2,
        },
    });

    assert_eq!(
        machine.json(&["list"]),
        json!({"version": 1, "devices": [device], "exports": []})
    );
    assert_eq!(
        machine.json(&["sessions"]),
        json!({"version": 1, "sessions": [session]})
    );
    assert_eq!(
        machine.json(&["paths", "s1"]),
        json!({"version": 1, "paths": [path]})
    );
    assert_eq!(
        machine.json(&["show", "rnbd0"]),
        json!({"version": 1, "devices": [device], "sessions": [], "exports": []})
    );
}

#[test]
fn json_of_a_server() {
    let machine = Machine::server();
    let export = json!({
        "name": "ram0", "node": "/dev/ram0", "size": 16777216,
        "clients": [{
            "session": "s1", "access_mode": "rw", "read_only": false, "device_path": "/dev/ram0",
        }],
    });

    assert_eq!(
        machine.json(&["exports"]),
        json!({"version": 1, "exports": [export]})
    );
    let sessions = machine.json(&["sessions"]);
    let session = &sessions["sessions"][0];
    assert_eq!(session["side"], "server");
    assert_eq!(session["devices"], json!(["ram0"]));
    assert_eq!(session["pinned_memory"], 67108864);
    assert_eq!(session["paths"][0]["traffic"]["in_flight"], json!(null));
    assert_eq!(session["paths"][0]["state"], json!(null));
}

#[test]
fn tables_of_a_server() {
    let machine = Machine::server();

    assert_eq!(
        machine.output(&["exports"]),
        "\
EXPORTED   SIZE    SESSION  MODE  ASKED FOR AS
/dev/ram0  16 MiB  s1       rw    /dev/ram0
"
    );
    assert_eq!(machine.output(&["list"]), machine.output(&["exports"]));
    let paths = machine.output(&["paths"]);
    assert!(
        paths.contains("server") && paths.contains("connected"),
        "{paths}"
    );
}

#[test]
fn c_drivers_lack_some_files() {
    let machine = Machine::client();

    machine.remove("/sys/class/rtrs-client/s1/fast_io_fail_tmo");
    machine.remove(&format!(
        "/sys/class/rtrs-client/s1/paths/{PATH}/stats/polled"
    ));
    let sessions = machine.json(&["sessions"]);
    assert_eq!(sessions["sessions"][0]["fast_io_fail_tmo"], json!(null));
    assert_eq!(sessions["sessions"][0]["paths"][0]["polled"], json!(null));
    assert!(machine.output(&["sessions"]).contains('-'));
    assert!(!machine.output(&["show", "s1"]).contains("I/O fails after"));
}

#[test]
fn garbage_in_files_is_unknown() {
    let machine = Machine::client();

    machine.file("/sys/block/rnbd0/size", "much\n");
    machine.file("/sys/block/rnbd0/stat", "1 2\n");
    machine.file(
        &format!("/sys/class/rtrs-client/s1/paths/{PATH}/stats/rdma"),
        "x\n",
    );
    let list = machine.json(&["list"]);
    assert_eq!(list["devices"][0]["size"], json!(null));
    assert_eq!(list["devices"][0]["io"], json!(null));
    assert_eq!(machine.json(&["paths"])["paths"][0]["traffic"], json!(null));
}

#[test]
fn shows_what_has_the_name() {
    let machine = Machine::client();

    for name in ["rnbd0", "/dev/rnbd0", "/dev/ram0@s1"] {
        let text = machine.output(&["show", name]);
        assert!(text.starts_with("device         /dev/rnbd0\n"), "{text}");
    }
    let text = machine.output(&["show", "s1"]);
    assert!(
        text.contains("min-inflight") && text.contains(PATH),
        "{text}"
    );
    machine
        .run(&["show", "rnbd1"])
        .fails(3, &["rnbd1", "rnbdctl list"]);
    machine
        .run(&["paths", "s2"])
        .fails(3, &["s2", "rnbdctl sessions"]);
}

#[test]
fn empty_lists_say_so() {
    let machine = Machine::new();

    machine.directory("/sys/class/rnbd-client");
    machine.directory("/sys/class/rnbd-server");
    for (command, said) in [
        (
            "list",
            "no disk is mapped, and no exported device is open\n",
        ),
        ("sessions", "there is no session\n"),
        ("paths", "there is no path\n"),
        ("exports", "no client has a device open\n"),
    ] {
        let run = machine.run(&[command]);

        assert_eq!((run.code(), run.text()), (0, String::new()));
        assert_eq!(run.error(), said);
        machine.json(&[command]);
    }
    let keys = machine.run(&["key", "list"]);

    assert_eq!(keys.code(), 0);
    assert_eq!(
        keys.error(),
        "there is no key; `rnbdctl key new` makes one\n"
    );
}

#[test]
fn no_driver_is_not_an_empty_list() {
    let machine = Machine::new();

    for command in ["list", "sessions", "paths", "exports"] {
        machine.run(&[command]).fails(5, &["driver", "modprobe"]);
        // A program sees an empty list.
        machine.json(&[command]);
    }
}
