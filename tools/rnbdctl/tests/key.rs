// SPDX-License-Identifier: GPL-2.0-only

//! Keys: made, listed, and loaded by a `keyctl` that writes down what it is asked to do.

mod machine;

use std::{
    fs,
    os::unix::fs::PermissionsExt, //
};

use machine::Machine;
use serde_json::json;

const KEYS: &str = "/etc/rnbd/keys";
const LOG: &str = "/log";
const KEYRING: &str = "1a2b3c4d I------     1 perm 1f0b0000     0     0 keyring   .rnbd: 1\n";
const WEB: &str = "00c0ffee I--Q---     1 perm 3f010000     0     0 logon     rnbd:web1: 32\n";

fn with_keyring(machine: Machine) -> Machine {
    let log = machine.path(LOG);
    let keyctl = "/usr/bin/keyctl";

    machine.file("/proc/keys", KEYRING);
    machine.file(
        keyctl,
        &format!(
            "#!/bin/sh\ncase $5 in *padd*) verb=add;; *) verb=remove;; esac\n\
            echo $1 $2 $verb $7 $(wc -c) >>{}\n",
            log.display()
        ),
    );
    mode(&machine, keyctl, 0o755);
    machine
}

fn mode(machine: &Machine, path: &str, mode: u32) {
    fs::set_permissions(machine.path(path), fs::Permissions::from_mode(mode)).expect("a mode");
}

fn key(machine: &Machine, name: &str) -> String {
    machine.output(&["key", "new", name]);
    format!("{KEYS}/{name}")
}

#[test]
fn a_new_key_is_random_and_for_root_only() {
    let machine = Machine::new();
    let file = key(&machine, "web1");
    let value = fs::read(machine.path(&file)).expect("a file");
    let is = |path: &str| {
        fs::metadata(machine.path(path))
            .expect("a file")
            .permissions()
            .mode()
    };

    assert_eq!(
        (value.len(), is(&file) & 0o777, is(KEYS) & 0o777),
        (32, 0o600, 0o700)
    );
    machine
        .run(&["key", "new", "web1"])
        .fails(1, &["--replace", &file]);
    assert_eq!(fs::read(machine.path(&file)).expect("a file"), value);
    let text = machine.output(&["key", "new", "--replace", "web1"]);
    assert!(text.starts_with(&format!("{file}\n")), "{text}");
    assert_ne!(fs::read(machine.path(&file)).expect("a file"), value);
    machine
        .run(&["key", "new", "../exports"])
        .fails(2, &["../exports", "letters"]);
}

#[test]
fn keys_are_loaded_into_the_keyring() {
    let machine = with_keyring(Machine::new());

    for name in ["web1", "web2"] {
        key(&machine, name);
    }
    machine.output(&["key", "load", "web2"]);
    assert_eq!(machine.content(LOG), "session - add rnbd:web2 32\n");
    machine.remove(LOG);
    machine.output(&["key", "load"]);
    assert_eq!(
        machine.content(LOG),
        "session - add rnbd:web1 32\nsession - add rnbd:web2 32\n"
    );
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let machine = with_keyring(Machine::new());
    let file = key(&machine, "web1");

    machine
        .run(&["key", "load", "web2"])
        .fails(3, &["keys/web2", "rnbdctl key new"]);
    machine
        .run(&["key", "unload", "web1"])
        .fails(3, &["no key web1"]);
    mode(&machine, &file, 0o640);
    machine
        .run(&["key", "load"])
        .fails(6, &["chmod 600", &file]);
    mode(&machine, &file, 0o600);
    machine.file(&file, "short");
    machine
        .run(&["key", "load"])
        .fails(2, &["5 bytes, not 16 to 64"]);
    machine.file(&file, &"x".repeat(16));
    machine.file(
        "/usr/bin/keyctl",
        "#!/bin/sh\necho add_key: Disk quota exceeded >&2\nexit 1\n",
    );
    machine
        .run(&["key", "load"])
        .fails(1, &["web1", "Disk quota exceeded"]);
    machine.remove("/usr/bin/keyctl");
    machine
        .run(&["key", "load"])
        .fails(1, &["package keyutils"]);
    machine.file("/proc/keys", "");
    machine.run(&["key", "load"]).fails(5, &["modprobe rtrs"]);
}

#[test]
fn keys_are_listed_and_unloaded() {
    let machine = with_keyring(Machine::new());
    let file = key(&machine, "web2");

    // Not ours, revoked, expired, or of another type.
    let others = "\
        00000001 I--Q---     1 perm 3f010000     0     0 logon     cifs:a:b: 9\n\
        00000002 IR-Q---     1 perm 3f010000     0     0 logon     rnbd:old: 32\n\
        00000003 I--Q---     1 expd 3f010000     0     0 logon     rnbd:old: 32\n\
        00000004 I--Q---     1 perm 3f010000     0     0 user      rnbd:old: 32\n";
    machine.file("/proc/keys", &[KEYRING, WEB, others].concat());
    assert_eq!(
        machine.output(&["key", "list"]),
        "\
KEY   LOADED  FILE
web1  yes     -
web2  no      /etc/rnbd/keys/web2
"
    );
    mode(&machine, &file, 0o644);
    let listed = machine.json(&["key", "list"]);
    assert_eq!(
        listed["keys"][0],
        json!({"name": "web1", "file": null, "problem": null, "loaded": true})
    );
    assert!(listed["keys"][1]["problem"].is_string());
    machine.output(&["key", "unload", "web1"]);
    assert_eq!(machine.content(LOG), "session - remove rnbd:web1 0\n");
}

#[test]
fn a_key_that_is_needed_is_loaded_by_itself() {
    let machine = with_keyring(Machine::client());
    let map = ["map", "--session", "s1", "--key", "web1", "/dev/ram0"];

    // Without a file the driver says what is missing.
    machine.output(&map);
    assert!(!machine.path(LOG).exists());
    key(&machine, "web1");
    machine.output(&map);
    assert_eq!(machine.content(LOG), "session - add rnbd:web1 32\n");
    // It is not replaced.
    machine.file("/proc/keys", &[KEYRING, WEB].concat());
    machine.output(&map);
    assert_eq!(machine.content(LOG), "session - add rnbd:web1 32\n");

    let machine = with_keyring(Machine::server());
    key(&machine, "web1");
    machine.file(
        "/etc/rnbd/exports",
        "allow key=web1 device=/dev/ram0\ndeny\n",
    );
    machine.output(&["rules", "load"]);
    assert_eq!(machine.content(LOG), "session - add rnbd:web1 32\n");
}

#[test]
fn doctor_misses_keys() {
    let machine = with_keyring(Machine::client());

    machine.file(
        "/etc/rnbd/rnbdtab",
        "a s1 10.0.0.2 /dev/ram0 key=web1\nb s2 10.0.0.2 /dev/ram1 key=web2\n",
    );
    let said = |machine: &Machine| machine.run(&["doctor"]).text();
    let missing = said(&machine);
    assert_eq!(missing.matches("WRONG  key: ").count(), 2, "{missing}");
    key(&machine, "web2");
    machine.file("/proc/keys", &[KEYRING, WEB].concat());
    let text = said(&machine);
    assert!(text.contains("ok     key: /etc/rnbd/keys/web2"), "{text}");
    assert!(text.contains("note   key: the kernel has web1"), "{text}");
}
