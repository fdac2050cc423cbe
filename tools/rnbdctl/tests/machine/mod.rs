// SPDX-License-Identifier: GPL-2.0-only

//! A machine as sysfs shows it, made of plain files, and the program run on it.

// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    os::unix::fs::{
        symlink,
        PermissionsExt, //
    },
    path::PathBuf,
    process::{
        Command,
        Output, //
    }, //
};

use serde_json::Value;
use tempfile::TempDir;

/// A machine.
pub struct Machine(TempDir);

/// Address of the client and of the server.
pub const PATH: &str = "ip:10.0.0.1@ip:10.0.0.2";

impl Machine {
    /// Creates a machine without drivers.
    pub fn new() -> Self {
        let machine = Self(TempDir::new().expect("a directory"));

        machine.file("/sys/devices/system/cpu/online", "0-3\n");
        machine
    }

    /// Creates a machine with a client that has mapped a device, `rnbd0`, over a path.
    pub fn client() -> Self {
        let machine = Self::new();

        machine.file("/sys/class/rnbd-client/ctl/map_device", "Usage: ...\n");
        machine.directory("/sys/class/rnbd-client/ctl/devices");
        machine.device("rnbd0", "/dev/ram0", "s1");
        machine.session("s1");
        machine.client_path("s1", PATH, "connected");
        machine
    }

    /// Creates a machine with a server, a device of which a client has open.
    pub fn server() -> Self {
        let machine = Self::new();
        let client = "/sys/class/rnbd-server/ctl/devices/ram0/sessions/s1";
        let path = format!("/sys/class/rtrs-server/s1/paths/{PATH}");

        machine.file("/sys/class/rnbd-server/ctl/export_rules", "default\n");
        machine.file("/sys/class/block/ram0/size", "32768\n");
        machine.file(&format!("{client}/access_mode"), "rw\n");
        machine.file(&format!("{client}/read_only"), "0\n");
        machine.file(&format!("{client}/mapping_path"), "/dev/ram0\n");
        machine.file("/sys/class/rtrs-server/s1/pinned_memory", "67108864\n");
        machine.endpoint(&path);
        machine.file(&format!("{path}/stats/rdma"), "1 4096 2 8192\n");
        machine
    }

    /// Writes a file of text.
    pub fn file(&self, path: &str, content: &str) {
        self.bytes(path, content.as_bytes());
    }

    /// Writes a file.
    pub fn bytes(&self, path: &str, content: &[u8]) {
        let path = self.path(path);

        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// Writes a program for the shell.
    pub fn program(&self, path: &str, script: &str) {
        self.file(path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755))
            .expect("permissions");
    }

    /// Creates a directory.
    pub fn directory(&self, path: &str) {
        fs::create_dir_all(self.path(path)).expect("a directory");
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect("a file");
    }

    /// Makes writes to a file fail with `ENOSPC`.
    pub fn refuse(&self, path: &str) {
        self.remove(path);
        symlink("/dev/full", self.path(path)).expect("a link");
    }

    /// Returns the content of a file, which a command may have written.
    pub fn content(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("a file")
    }

    /// Returns where a file is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// Adds a mapped device.
    pub fn device(&self, name: &str, device_path: &str, session: &str) {
        let disk = format!("/sys/block/{name}");
        let link = format!("{}@{session}", device_path.replace('/', "!"));
        let link = self.path(&format!("/sys/class/rnbd-client/ctl/devices/{link}"));

        for (file, content) in [
            ("dev", "252:0\n"),
            ("size", "32768\n"),
            ("stat", "5 0 16 7 3 1 8 9 2 11 16 0 0 0 0 0 0\n"),
            ("rnbd/state", "open\n"),
            ("rnbd/access_mode", "rw\n"),
            ("rnbd/session", &format!("{session}\n")),
            ("rnbd/mapping_path", &format!("{device_path}\n")),
            ("rnbd/nr_poll_queues", "0\n"),
            ("rnbd/unmap_device", "Usage: ...\n"),
            ("rnbd/remap_device", "Usage: ...\n"),
            ("rnbd/resize", "Usage: ...\n"),
        ] {
            self.file(&format!("{disk}/{file}"), content);
        }
        symlink(format!("../../../../block/{name}"), link).expect("a link");
    }

    /// Adds a session of the client.
    pub fn session(&self, name: &str) {
        let directory = format!("/sys/class/rtrs-client/{name}");

        self.file(
            &format!("{directory}/mpath_policy"),
            "min-inflight (MI: 1)\n",
        );
        self.file(&format!("{directory}/max_reconnect_attempts"), "-1\n");
        self.file(&format!("{directory}/fast_io_fail_tmo"), "120\n");
        self.file(&format!("{directory}/key"), "(none)\n");
        self.file(&format!("{directory}/add_path"), "Usage: ...\n");
        self.directory(&format!("{directory}/paths"));
    }

    /// Adds a path of a client.
    pub fn client_path(&self, session: &str, name: &str, state: &str) {
        let directory = format!("/sys/class/rtrs-client/{session}/paths/{name}");

        self.endpoint(&directory);
        for (file, content) in [
            ("state", state),
            ("cur_latency", "12345 ns"),
            ("reconnect", "Usage: ..."),
            ("remove_path", "Usage: ..."),
            ("stats/rdma", "1 4096 2 8192 3 4"),
            ("stats/reconnects", "1 2"),
            ("stats/polled", "7"),
        ] {
            self.file(&format!("{directory}/{file}"), &format!("{content}\n"));
        }
    }

    fn endpoint(&self, directory: &str) {
        for (file, content) in [
            ("hca_name", "mlx5_0"),
            ("hca_port", "1"),
            ("src_addr", "ip:10.0.0.1"),
            ("dst_addr", "ip:10.0.0.2"),
            ("disconnect", "Usage: ..."),
        ] {
            self.file(&format!("{directory}/{file}"), &format!("{content}\n"));
        }
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_rnbdctl"))
            .arg("--root")
            .arg(self.0.path())
            .args(arguments)
            .output()
            .expect("a process");

        Run(output)
    }

    /// Runs the program, which must succeed, and returns its output.
    pub fn output(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);

        assert_eq!(run.code(), 0, "{arguments:?}: {}", run.error());
        assert_eq!(run.error(), "", "{arguments:?}");
        run.text()
    }

    /// Runs the program, which must print JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.output(&[&["--json"], arguments].concat());

        serde_json::from_str(&text).expect("JSON")
    }
}

/// The end of a run of the program.
pub struct Run(Output);

impl Run {
    /// Returns the exit code.
    pub fn code(&self) -> i32 {
        self.0.status.code().expect("an exit code")
    }

    /// Returns the output.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("text")
    }

    /// Returns what was said about an error.
    pub fn error(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("text")
    }

    /// Checks the exit code and words of the message.
    pub fn fails(&self, code: i32, words: &[&str]) {
        let error = self.error();

        assert_eq!(self.code(), code, "{error}");
        for word in words {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
    }
}
