// SPDX-License-Identifier: GPL-2.0-only

//! A line of the table.

use rnbd_proto::auth::KeyName;

use super::PATH;

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

impl Entry {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
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
