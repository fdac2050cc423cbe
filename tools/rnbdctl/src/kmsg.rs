// SPDX-License-Identifier: GPL-2.0-only

//! Lines of the kernel's log, from `/dev/kmsg`.

use std::{
    fs::{
        File,
        OpenOptions, //
    },
    io::{
        self,
        Read,
        Seek,
        SeekFrom, //
    },
    os::unix::fs::OpenOptionsExt, //
};

use rustix::fs::OFlags;

use crate::system::System;

/// Size of the largest record that the kernel returns, in bytes.
const RECORD: usize = 8192;

/// What the modules' lines begin with. C drivers append ` L<line>`.
const MODULES: [&str; 3] = ["rnbd_client", "rnbd_server", "rtrs"];

/// A place in the kernel's log, from which on lines are read.
#[derive(Debug)]
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// Marks the end of the log. Without permission to read the log no lines are found.
    pub(crate) fn now(system: &System) -> Self {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking)
            .open(system.path("/dev/kmsg"));

        Self(file.ok().and_then(|mut file| {
            file.seek(SeekFrom::End(0)).ok()?;
            Some(file)
        }))
    }

    /// Returns the lines that the modules have logged since, each once: attempts that are
    /// repeated log the same again.
    pub(crate) fn lines(self) -> Vec<String> {
        let Some(mut file) = self.0 else {
            return Vec::new();
        };
        let mut lines: Vec<String> = Vec::new();
        let mut record = [0; RECORD];

        loop {
            match file.read(&mut record) {
                Ok(0) => return lines,
                Ok(len) => {
                    let text = String::from_utf8_lossy(record.get(..len).unwrap_or_default());

                    if let Some(line) = of_module(&text) {
                        add_new(&mut lines, line);
                    }
                }
                // Records were overwritten before they were read; the next one follows.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
                Err(_) => return lines,
            }
        }
    }
}

/// Returns the text of a record, `<prefix>;<text>`, if one of the modules logged it.
fn of_module(record: &str) -> Option<&str> {
    let (_, text) = record.split_once(';')?;
    let line = text.lines().next()?;

    MODULES
        .iter()
        .any(|module| line.starts_with(module))
        .then_some(line)
}

/// Adds a line unless it is there.
fn add_new(lines: &mut Vec<String>, line: &str) {
    if !lines.iter().any(|it| it == line) {
        lines.push(line.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_once() {
        let mut lines = Vec::new();

        for line in ["a", "b", "a"] {
            add_new(&mut lines, line);
        }
        assert_eq!(lines, ["a", "b"]);
    }

    #[test]
    fn only_lines_of_the_modules() {
        let record = "3,1,2,-;rnbd_client: bench: no such device\n SUBSYSTEM=block\n";

        assert_eq!(
            of_module(record),
            Some("rnbd_client: bench: no such device")
        );
        assert_eq!(of_module("6,1,2,-;eth0: link up\n"), None);
        assert_eq!(
            of_module("6,1,2,-;rtrs_client L123: lost\n"),
            Some("rtrs_client L123: lost")
        );
        assert_eq!(of_module("nothing"), None);
    }
}
