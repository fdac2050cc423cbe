// SPDX-License-Identifier: GPL-2.0-only

//! Man pages and completions.

mod machine;

use machine::Machine;

#[test]
fn every_command_has_a_man_page() {
    let machine = Machine::new();

    machine.directory("/man");
    machine.output(&["man", &machine.path("/man").to_string_lossy()]);
    for page in [
        "rnbdctl",
        "rnbdctl-map",
        "rnbdctl-path-add",
        "rnbdctl-rules-check",
    ] {
        let text = machine.content(&format!("/man/{page}.1"));

        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    machine.run(&["man", "/nowhere"]).fails(1, &["/nowhere"]);
}

#[test]
fn shells_complete_commands() {
    let machine = Machine::new();

    for shell in ["bash", "zsh", "fish"] {
        assert!(
            machine.output(&["completion", shell]).contains("remap"),
            "{shell}"
        );
    }
    machine
        .run(&["completion", "dos"])
        .fails(2, &["dos", "bash"]);
}
