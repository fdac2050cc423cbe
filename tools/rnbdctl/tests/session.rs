// SPDX-License-Identifier: GPL-2.0-only

//! Paths and settings of sessions.

mod machine;

use machine::{
    Machine,
    PATH, //
};

const SESSION: &str = "/sys/class/rtrs-client/s1";

#[test]
fn paths_are_found_by_name_or_address() {
    let machine = Machine::client();

    // Of which none is the last one.
    machine.client_path("s1", "ip:10.0.1.1@ip:10.0.1.2", "connected");
    for (command, file) in [
        ("connect", "reconnect"),
        ("disconnect", "disconnect"),
        ("remove", "remove_path"),
    ] {
        let file = format!("{SESSION}/paths/{PATH}/{file}");

        for name in [PATH, "ip:10.0.0.2", "10.0.0.2"] {
            machine.file(&file, "");
            machine.output(&["path", command, "s1", name]);
            assert_eq!(machine.content(&file), "1", "{command} {name}");
        }
    }
    machine
        .run(&["path", "connect", "s1", "10.0.0.3"])
        .fails(3, &["10.0.0.3", "rnbdctl paths s1"]);
    machine
        .run(&["path", "connect", "s2", PATH])
        .fails(3, &["s2", "rnbdctl sessions"]);
    // Two paths to the same address.
    machine.client_path("s1", "ip:10.0.0.9@ip:10.0.0.2", "connected");
    machine
        .run(&["path", "remove", "s1", "10.0.0.2"])
        .fails(3, &["several"]);
}

#[test]
fn the_last_path_of_a_device_is_removed_by_force() {
    let machine = Machine::client();
    let file = format!("{SESSION}/paths/{PATH}/remove_path");

    machine.file(&file, "");
    machine
        .run(&["path", "remove", "s1", "10.0.0.2"])
        .fails(4, &["last path of session s1", "rnbd0", "--force"]);
    assert_eq!(machine.content(&file), "");
    machine.output(&["path", "remove", "--force", "s1", "10.0.0.2"]);
    assert_eq!(machine.content(&file), "1");
}

#[test]
fn paths_are_added() {
    let machine = Machine::client();

    machine.output(&["path", "add", "s1", "10.0.1.1@10.0.1.2"]);
    assert_eq!(
        machine.content(&format!("{SESSION}/add_path")),
        "ip:10.0.1.1@ip:10.0.1.2"
    );
    machine
        .run(&["path", "add", "s1", "nowhere"])
        .fails(2, &["nowhere"]);
    machine
        .run(&["path", "add", "s2", "10.0.1.2"])
        .fails(3, &["s2"]);
    machine.refuse(&format!("{SESSION}/add_path"));
    machine
        .run(&["path", "add", "s1", "10.0.1.2"])
        .fails(1, &["as many paths", "ENOSPC"]);
}

#[test]
fn servers_disconnect_paths() {
    let machine = Machine::server();

    machine.output(&["path", "disconnect", "--server", "s1", PATH]);
    let file = format!("/sys/class/rtrs-server/s1/paths/{PATH}/disconnect");
    assert_eq!(machine.content(&file), "1");
    machine
        .run(&["path", "disconnect", "s1", PATH])
        .fails(3, &["s1 is one of the server", "--server"]);
    for arguments in [&["tune", "s1"][..], &["policy", "s1"]] {
        machine
            .run(arguments)
            .fails(3, &["s1 is one of the server", "on the client"]);
    }
    machine
        .run(&["tune", "s2"])
        .fails(5, &["modprobe rnbd_client"]);
    for device in ["ram0", "/dev/ram0", "ram0@s1"] {
        machine
            .run(&["latency", device])
            .fails(3, &["this machine exports", "<device>@<session>"]);
    }
}

#[test]
fn policy_is_shown_and_set() {
    let machine = Machine::client();

    assert_eq!(machine.output(&["policy", "s1"]), "min-inflight\n");
    machine.output(&["policy", "s1", "round-robin"]);
    assert_eq!(
        machine.content(&format!("{SESSION}/mpath_policy")),
        "round-robin"
    );
    machine
        .run(&["policy", "s1", "best"])
        .fails(2, &["best", "min-latency"]);
    machine.run(&["policy", "s2"]).fails(3, &["s2"]);
}

#[test]
fn limits_are_shown_and_set() {
    let machine = Machine::client();

    assert_eq!(
        machine.output(&["tune", "s1"]),
        "max-reconnect-attempts  unlimited\nfast-io-fail-tmo        120 s\n"
    );
    machine.output(&[
        "tune",
        "s1",
        "--max-reconnect-attempts",
        "7",
        "--fast-io-fail-tmo",
        "off",
    ]);
    assert_eq!(
        machine.content(&format!("{SESSION}/max_reconnect_attempts")),
        "7"
    );
    assert_eq!(
        machine.content(&format!("{SESSION}/fast_io_fail_tmo")),
        "off"
    );
    for (option, value, file, written) in [
        ("--fast-io-fail-tmo", "0", "fast_io_fail_tmo", "0"),
        ("--fast-io-fail-tmo", "never", "fast_io_fail_tmo", "off"),
        (
            "--max-reconnect-attempts",
            "7",
            "max_reconnect_attempts",
            "7",
        ),
        (
            "--max-reconnect-attempts",
            "infinite",
            "max_reconnect_attempts",
            "-1",
        ),
        (
            "--max-reconnect-attempts",
            "unlimited",
            "max_reconnect_attempts",
            "-1",
        ),
    ] {
        machine.output(&["tune", "s1", option, value]);
        assert_eq!(machine.content(&format!("{SESSION}/{file}")), written);
    }
    for (option, value) in [
        ("--max-reconnect-attempts", "10000"),
        ("--max-reconnect-attempts", "-2"),
        ("--max-reconnect-attempts", "many"),
        ("--fast-io-fail-tmo", "-1"),
        ("--fast-io-fail-tmo", "soon"),
    ] {
        machine
            .run(&["tune", "s1", option, value])
            .fails(2, &[value, "next:"]);
    }
    // Nothing is written if one of the values is wrong.
    machine
        .run(&[
            "tune",
            "s1",
            "--max-reconnect-attempts",
            "9",
            "--fast-io-fail-tmo",
            "x",
        ])
        .fails(2, &["'x'"]);
    assert_eq!(
        machine.content(&format!("{SESSION}/max_reconnect_attempts")),
        "-1"
    );
    machine.remove(&format!("{SESSION}/fast_io_fail_tmo"));
    machine
        .run(&["tune", "s1", "--fast-io-fail-tmo", "9"])
        .fails(5, &["fast_io_fail_tmo"]);
}

#[test]
fn a_limit_lowers_settings_only() {
    let machine = Machine::client();
    let file = |session: &str| format!("/sys/class/rtrs-client/{session}/fast_io_fail_tmo");

    for (before, after) in [("120", "20"), ("off", "20"), ("20", "20"), ("5", "5")] {
        machine.file(&file("s1"), before);
        machine.output(&["limit-waiting", "20"]);
        assert_eq!(machine.content(&file("s1")), after);
    }
    // The C driver does not have the file; the other sessions have it.
    machine.session("s2");
    machine.remove(&file("s1"));
    machine.output(&["limit-waiting", "20"]);
    assert_eq!(machine.content(&file("s2")), "20");
}
