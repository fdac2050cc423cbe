// SPDX-License-Identifier: GPL-2.0-only

//! Man pages and completions.

mod machine;

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
fn shells_complete_commands() {
    let machine = Machine::new();

    for shell in ["bash", "zsh", "fish"] {
        let script = machine.output(&["completion", shell]);

        assert!(script.contains("remap"), "{shell}");
        // The help hides these.
        for hidden in ["limit-waiting", "--root"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
    machine
        .run(&["completion", "dos"])
        .fails(2, &["dos", "bash"]);
}
