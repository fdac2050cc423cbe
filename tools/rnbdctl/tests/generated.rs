// SPDX-License-Identifier: GPL-2.0-only

//! Man pages and completions.

mod machine;

use std::{
    path::Path,
    process::Command, //
};

use machine::Machine;

#[test]
fn commands_files_and_units_have_man_pages() {
    let machine = Machine::new();

    machine.directory("/man");
    machine.output(&["man", &machine.path("/man").to_string_lossy()]);
    for page in [
        "rnbdctl.1",
        "rnbdctl-map.1",
        "rnbdctl-path-add.1",
        "rnbdctl-rules-check.1",
        "rnbdtab.5",
        "rnbd-exports.5",
        "rnbd-attach@.service.8",
        "rnbd-server.service.8",
    ] {
        let text = machine.content(&format!("/man/{page}"));

        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    machine.run(&["man", "/nowhere"]).fails(1, &["/nowhere"]);
}

#[test]
fn shells_have_scripts_that_ask_the_program() {
    let machine = Machine::new();

    for shell in ["bash", "zsh", "fish"] {
        let script = machine.output(&["completion", shell]);

        assert!(
            script.contains(&format!("RNBDCTL_COMPLETE=\"{shell}\""))
                || script.contains(&format!("RNBDCTL_COMPLETE={shell}")),
            "{shell}: {script}"
        );
    }
    machine
        .run(&["completion", "dos"])
        .fails(2, &["dos", "bash"]);
}

/// Returns what bash, with the script, offers for the last of the words.
fn bash_offers(machine: &Machine, words: &[&str]) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_rnbdctl"));
    let directory = program.parent().expect("a directory");
    let output = Command::new("bash")
        .args(["--norc", "-c"])
        .arg(
            "PATH=$DIRECTORY:$PATH; . <(rnbdctl completion bash)\n\
             COMP_WORDS=(rnbdctl --root \"$ROOT\" \"$@\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n\
             _clap_complete_rnbdctl rnbdctl \"${COMP_WORDS[COMP_CWORD]}\"\n\
             printf '%s\\n' \"${COMPREPLY[@]}\"",
        )
        .arg("bash")
        .args(words)
        .env("DIRECTORY", directory)
        .env("ROOT", machine.path("/"))
        .output()
        .expect("bash");

    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");

    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_names_of_the_machine() {
    let machine = Machine::client();

    machine.device("rnbd1", "/dev/vg/a", "s1");
    machine.client_path("s1", "ip:10.0.1.1@ip:10.0.1.2", "disconnected");
    machine.session("other");
    machine.client_path("other", "ip:10.0.2.1@ip:10.0.2.2", "connected");
    machine.file(
        "/etc/rnbd/rnbdtab",
        "data s1 - /dev/vg/a\nspare s2 10.0.0.9 /dev/b\n",
    );
    machine.file("/etc/rnbd/keys/web1", "");

    for (words, offers) in [
        (&["rem"][..], &["remap"][..]),
        (&["policy", "s1", "min"], &["min-inflight", "min-latency"]),
        (&["unmap", ""], &["rnbd0", "data", "rnbd1"]),
        (&["unmap", "d"], &["data"]),
        (&["show", "rnbd"], &["rnbd0", "rnbd1"]),
        (&["show", "o"], &["other"]),
        (&["map", "--session", "s"], &["s1"]),
        (&["map", "--key", ""], &["web1"]),
        (&["path", "remove", ""], &["other", "s1"]),
        (&["path", "remove", "s1", ""], &["10.0.0.2", "10.0.1.2"]),
        (&["attach", ""], &["data", "spare"]),
        (&["latency", "rnbd0", ""], &["on", "off"]),
    ] {
        let found = bash_offers(&machine, words);
        let names: Vec<&str> = found.iter().map(String::as_str).collect();
        let names: Vec<&str> = names
            .into_iter()
            .filter(|it| !it.starts_with('-'))
            .collect();

        assert_eq!(names, offers, "{words:?}");
    }
    // The help hides these.
    let commands = bash_offers(&machine, &[""]);

    assert!(commands.contains(&"list".to_owned()), "{commands:?}");
    for hidden in ["limit-waiting", "--root"] {
        assert!(!commands.contains(&hidden.to_owned()), "{hidden}");
    }
    assert_eq!(bash_offers(&Machine::new(), &["unmap", "r"]), [""]);
}
