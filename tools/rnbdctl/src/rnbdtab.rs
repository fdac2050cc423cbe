// SPDX-License-Identifier: GPL-2.0-only

//! The table of devices to attach, `/etc/rnbd/rnbdtab`.
//!
//! Each line has the fields `name session paths device options`, separated by white space.
//! Paths and options are separated by commas; `-` stands for none, or for the paths of another
//! line of the session. Options may be left out.

use rnbd_proto::auth::KeyName;

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

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// By which the user calls the device.
    pub(crate) name: String,
    /// Name of the session.
    pub(crate) session: String,
    /// Addresses of the server.
    pub(crate) paths: Vec<String>,
    /// Path of the device on the server.
    pub(crate) device_path: String,
    /// The rest.
    pub(crate) options: Options,
}

/// Options of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `ro`
    pub(crate) ro: bool,
    /// `migration`
    pub(crate) migration: bool,
    /// `noauto`: neither at boot nor with `--all`.
    pub(crate) noauto: bool,
    /// `nofail`: the boot does not wait for it.
    pub(crate) nofail: bool,
    /// `polled` or `polled=<queues>`
    pub(crate) polled: Option<i32>,
    /// `port=<port>`
    pub(crate) port: Option<u16>,
    /// `key=<name>`
    pub(crate) key: Option<String>,
    /// Files of the session and what to write to them.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Options that are names of files of a session, too.
const SETTINGS: [(&str, &str); 3] = [
    ("policy", "mpath_policy"),
    ("fast_io_fail_tmo", "fast_io_fail_tmo"),
    ("max_reconnect_attempts", "max_reconnect_attempts"),
];

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
    fn parse_line(&self, line: &str) -> Result<Entry, String> {
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

impl Entry {
    fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, session, paths, device_path, options) = match *fields.as_slice() {
            [name, session, paths, device] => (name, session, paths, device, "-"),
            [name, session, paths, device, options] => (name, session, paths, device, options),
            ref other => {
                let count = other.len();

                return Err(format!(
                    "has {count} fields; they are name, session, paths, device, options"
                ));
            }
        };

        check_name(name)?;
        Ok(Self {
            name: name.into(),
            session: session.into(),
            paths: words(paths).map(str::to_owned).collect(),
            device_path: device_path.into(),
            options: Options::parse(options)?,
        })
    }

    /// Returns the line of the table that is this device, with a newline; an error if it cannot
    /// be told from another one, as with a session that has white space in its name.
    pub(crate) fn line(&self) -> Result<String, String> {
        let field = |words: &[String]| match words {
            [] => "-".to_owned(),
            words => words.join(","),
        };
        let line = format!(
            "{} {} {} {} {}",
            self.name,
            self.session,
            field(&self.paths),
            self.device_path,
            field(&self.options.words()),
        );

        if Self::parse(&line)? == *self {
            Ok(line + "\n")
        } else {
            Err(format!("no line of {PATH} can say this: {line}"))
        }
    }
}

impl Options {
    /// Returns the words that are parsed as these options.
    fn words(&self) -> Vec<String> {
        let flags = [
            (self.ro, "ro"),
            (self.migration, "migration"),
            (self.noauto, "noauto"),
            (self.nofail, "nofail"),
        ];
        let set = flags.iter().filter(|(set, _)| *set);
        let mut words: Vec<String> = set.map(|(_, word)| (*word).to_owned()).collect();

        words.extend(self.polled.map(|queues| format!("polled={queues}")));
        words.extend(self.port.map(|port| format!("port={port}")));
        words.extend(self.key.iter().map(|key| format!("key={key}")));
        for (file, value) in &self.settings {
            let setting = SETTINGS.iter().find(|(_, it)| it == file);

            words.extend(setting.map(|(name, _)| format!("{name}={value}")));
        }
        words
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();

        for word in words(text) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            let wrong = || format!("option '{word}' has a wrong value");

            match (key, value) {
                ("defaults" | "auto" | "rw", None) => {}
                ("ro", None) => options.ro = true,
                ("migration", None) => options.migration = true,
                ("noauto", None) => options.noauto = true,
                ("nofail", None) => options.nofail = true,
                ("polled", None) => options.polled = Some(-1),
                ("polled", Some(value)) => {
                    options.polled = Some(value.parse().map_err(|_| wrong())?);
                }
                ("key", Some(value)) if KeyName::new(value.as_bytes()).is_some() => {
                    options.key = Some(value.into());
                }
                ("key", _) => return Err(wrong()),
                ("port", Some(value)) => options.port = Some(value.parse().map_err(|_| wrong())?),
                // Of other programs, as in fstab.
                _ if key.starts_with("x-") || key == "_netdev" => {}
                _ => {
                    let setting = SETTINGS.iter().find(|(name, _)| *name == key);
                    let (Some((_, file)), Some(value)) = (setting, value) else {
                        return Err(format!("option '{word}' is unknown"));
                    };

                    if value.is_empty() {
                        return Err(wrong());
                    }
                    options.settings.push((file, value.into()));
                }
            }
        }
        if options.ro && options.migration {
            return Err("options ro and migration exclude each other".into());
        }
        Ok(options)
    }
}

/// Splits a field at its commas.
fn words(field: &str) -> impl Iterator<Item = &str> {
    let field = if field == "-" { "" } else { field };

    field.split(',').filter(|word| !word.is_empty())
}

/// Returns whether units and links can have the name.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);

    !name.is_empty() && !name.starts_with(['-', '.']) && name.bytes().all(plain)
}

/// Returns what is wrong with the name of a device.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "name '{name}': letters, digits, _, - and . only, and not - or . at its start"
    ))
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
