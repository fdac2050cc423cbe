// SPDX-License-Identifier: GPL-2.0-only

//! The table of devices to attach, `/etc/rnbd/rnbdtab`.
//!
//! Each line has the fields `name session paths device options`, separated by white space.
//! Paths and options are separated by commas; `-` stands for none, or for the paths of another
//! line of the session. Options may be left out.

mod entry;

pub(crate) use entry::{
    check_name,
    Entry,
    Options, //
};

use std::io;

use crate::{
    failure::{
        Exit,
        Failure,
        Result, //
    },
    system::System, //
};

/// Where the table is.
pub(crate) const PATH: &str = "/etc/rnbd/rnbdtab";

/// The table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The devices, in the order of their lines.
    pub(crate) entries: Vec<Entry>,
    /// What is wrong with each other line, with its number.
    pub(crate) wrong: Vec<String>,
}

/// Reads the table, which need not exist.
pub(crate) fn read(system: &System) -> Result<Table> {
    match system.read(PATH) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Table::default()),
        Err(e) => {
            let message = format!("cannot read {PATH}: {e}");

            Err(Failure::new(Exit::Failed, message))
        }
        Ok(text) => Ok(parse(&text)),
    }
}

/// Parses the table. A wrong line does not keep the others from counting.
pub(crate) fn parse(text: &str) -> Table {
    let mut table = Table::default();

    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();

        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match table.parse_line(line) {
            Ok(entry) => table.entries.push(entry),
            Err(reason) => table.wrong.push(format!("line {number}: {reason}")),
        }
    }
    table.share_paths();
    table.share_keys();
    table
}

impl Table {
    /// Returns what is wrong with the table.
    pub(crate) fn failure(&self) -> Option<Failure> {
        if self.wrong.is_empty() {
            return None;
        }
        let message = format!("{PATH} {}", self.wrong.join("; "));

        Some(
            Failure::new(Exit::Usage, message)
                .advise("correct it; the line does not count until then"),
        )
    }

    fn parse_line(&self, line: &str) -> std::result::Result<Entry, String> {
        let entry = Entry::parse(line)?;

        match self.find(&entry.name) {
            None => Ok(entry),
            Some(other) => Err(format!("there are two devices of the name {}", other.name)),
        }
    }

    /// Gives devices without paths those of their session: any of them may be attached first.
    fn share_paths(&mut self) {
        let known: Vec<Entry> = self.entries.clone();
        let without = self.entries.iter_mut().filter(|it| it.paths.is_empty());

        for entry in without {
            let mut same = known.iter().filter(|it| it.session == entry.session);

            if let Some(other) = same.find(|it| !it.paths.is_empty()) {
                entry.paths.clone_from(&other.paths);
                entry.options.port = entry.options.port.or(other.options.port);
            }
        }
    }

    /// Gives devices without a key that of their session, so that whichever is attached first
    /// makes a session with the key.
    fn share_keys(&mut self) {
        let known: Vec<Entry> = self.entries.clone();
        let without = self
            .entries
            .iter_mut()
            .filter(|it| it.options.key.is_none());

        for entry in without {
            let mut same = known.iter().filter(|it| it.session == entry.session);

            entry.options.key = same.find_map(|it| it.options.key.clone());
        }
    }

    /// Returns the device of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Returns this device of a session.
    pub(crate) fn device(&self, session: &str, device_path: &str) -> Option<&Entry> {
        let wanted = |it: &&Entry| it.session == session && it.device_path == device_path;

        self.entries.iter().find(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "\
            # name session paths device options\n\
            \n\
            data s1 ip:10.0.0.2,10.0.1.1@10.0.1.2 /dev/vg/a ro,port=4321,policy=round-robin\n\
            \tlog  s1 - /dev/vg/b\n\
            hand s9 - /dev/vg/b\n\
            old s2 10.0.0.3 /dev/c noauto,polled=2,x-mine=1,_netdev,nofail\n";
        let table = parse(text);
        let [data, log, hand, old] = table.entries.as_slice() else {
            panic!("{table:?}");
        };

        assert!(table.wrong.is_empty());
        assert_eq!(data.paths, ["ip:10.0.0.2", "10.0.1.1@10.0.1.2"]);
        assert!(data.options.ro);
        assert_eq!(data.options.port, Some(4321));
        assert_eq!(
            data.options.settings,
            [("mpath_policy", "round-robin".to_owned())]
        );
        // The session of `log` is that of `data`.
        assert_eq!(log.paths, data.paths);
        assert_eq!((log.options.port, log.options.ro), (Some(4321), false));
        assert!(log.options.settings.is_empty());
        assert_eq!((hand.paths.len(), &hand.options), (0, &Options::default()));
        assert!(old.options.noauto && old.options.nofail);
        assert_eq!(old.options.polled, Some(2));
        assert_eq!(parse(""), Table::default());
    }

    #[test]
    fn lines_that_are_written_are_read() {
        for line in [
            "a s - /dev/a -\n",
            "a s ip:10.0.0.2,ip:10.0.1.1@ip:10.0.1.2 /dev/vg/a ro,noauto,nofail,polled=2,\
             port=4321,key=web1,policy=round-robin,fast_io_fail_tmo=off\n",
            "a s - /dev/a migration\n",
        ] {
            let table = parse(line);

            assert_eq!(table.entries[0].line().as_deref(), Ok(line));
        }
        let mut entry = parse("a s - /dev/a\n").entries.remove(0);

        entry.session = "s t".into();
        assert!(entry.line().is_err());
        entry.session = "s".into();
        entry.device_path = "/dev/a b".into();
        assert!(entry.line().is_err());
        entry.device_path = "/dev/a".into();
        entry.name = "#a".into();
        assert!(entry.line().is_err());
    }

    #[test]
    fn a_session_has_one_key() {
        let table = parse("a s - /dev/a\nb s - /dev/b key=web1\nc t - /dev/c\n");
        let keys: Vec<_> = table
            .entries
            .iter()
            .map(|it| it.options.key.as_deref())
            .collect();

        assert_eq!(keys, [Some("web1"), Some("web1"), None]);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, reason) in [
            ("a b c", "has 3 fields"),
            ("a b c d e f", "has 6 fields"),
            ("a/b s - /dev/a", "name 'a/b'"),
            ("-a s - /dev/a", "name '-a'"),
            ("a s - /dev/a colour=red", "'colour=red' is unknown"),
            ("a s - /dev/a ro=1", "'ro=1' is unknown"),
            ("a s - /dev/a policy", "'policy' is unknown"),
            ("a s - /dev/a policy=", "'policy='"),
            ("a s - /dev/a port=65536", "'port=65536'"),
            ("a s - /dev/a key=", "'key='"),
            ("a s - /dev/a key=a/b", "'key=a/b'"),
            ("a s - /dev/a polled=x", "'polled=x'"),
            ("a s - /dev/a ro,migration", "exclude"),
        ] {
            let table = parse(&format!("\n{line}\ngood s - /dev/a\n"));
            let [error] = table.wrong.as_slice() else {
                panic!("{line}: {table:?}");
            };

            assert!(
                error.starts_with("line 2: ") && error.contains(reason),
                "{error}"
            );
            assert!(table.find("good").is_some());
        }
        let twice = parse("a s - /dev/a\na s - /dev/b\n");
        assert_eq!(twice.entries.len(), 1);
        assert_eq!(twice.wrong, ["line 2: there are two devices of the name a"]);
    }
}
