// SPDX-License-Identifier: GPL-2.0-only

//! Keys by which clients and servers prove who they are: their files on this machine, and the
//! kernel's keyring `.rnbd`, which `keyctl` of keyutils writes to.

use std::{
    fs::{
        self,
        DirBuilder,
        File,
        OpenOptions, //
    },
    io::{
        self,
        Write, //
    },
    os::unix::fs::{
        DirBuilderExt,
        OpenOptionsExt,
        PermissionsExt, //
    },
    process::{
        Command,
        Stdio, //
    }, //
};

use rnbd_proto::auth::{
    KeyName,
    MAX_KEY_SIZE,
    MIN_KEY_SIZE, //
};
use rustix::rand::{
    getrandom,
    GetRandomFlags, //
};

use crate::{
    failure::{
        Exit,
        Failure,
        Result, //
    },
    system::System, //
};

/// Where the files are. The name of a file is that of its key.
pub(crate) const DIRECTORY: &str = "/etc/rnbd/keys";

const KEYCTL: &str = "/usr/bin/keyctl";

/// Bytes of a key that is made here: as many as the hash has.
const SIZE: usize = 32;

/// Adds the key `$1` with the value of the standard input. Only a process that has the keyring
/// in one of its own may replace a key.
const ADD: &str = r#"keyctl link %:.rnbd @s && keyctl padd logon "$1" %:.rnbd >/dev/null"#;

/// Removes the key `$1`.
const REMOVE: &str =
    r#"keyctl link %:.rnbd @s && keyctl unlink "$(keyctl search %:.rnbd logon "$1")" %:.rnbd"#;

/// Checks the name of a key, as the driver does.
pub(crate) fn check_name(name: &str) -> Result<KeyName> {
    KeyName::new(name.as_bytes()).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("no key can have the name '{name}'"))
            .advise("use 1 to 63 letters, digits, -, _ and .")
    })
}

/// Returns where the file of a key is.
pub(crate) fn file(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

/// Returns the names of the keys that have a file.
pub(crate) fn in_files(system: &System) -> Vec<String> {
    let mut names = system.names(DIRECTORY);

    names.retain(|name| KeyName::new(name.as_bytes()).is_some());
    names
}

/// Returns the names of the keys that the kernel has and that are valid.
///
/// A line of `/proc/keys` (keyrings(7)) has serial number, flags, usage, timeout, permissions,
/// user, group, type and description with `:`.
pub(crate) fn loaded(system: &System) -> Vec<String> {
    let text = system.value("/proc/keys").unwrap_or_default();
    let name = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, flags, _, timeout, _, _, _, "logon", description, ..] = *words.as_slice() else {
            return None;
        };
        // Revoked or dead.
        let valid = !flags.contains(['R', 'D']) && timeout != "expd";
        let name = description.strip_prefix("rnbd:")?.strip_suffix(':')?;

        valid.then(|| name.to_owned())
    };
    let mut names: Vec<String> = text.lines().filter_map(name).collect();

    names.sort();
    names.dedup();
    names
}

/// Returns the names of the keys that have a file, and of those that are `loaded`.
pub(crate) fn names(system: &System, loaded: &[String]) -> Vec<String> {
    let mut names = in_files(system);

    names.extend_from_slice(loaded);
    names.sort();
    names.dedup();
    names
}

fn has_keyring(system: &System) -> bool {
    let text = system.value("/proc/keys").unwrap_or_default();

    text.lines().any(|line| {
        let mut words = line.split_whitespace().skip(7);

        words.next() == Some("keyring") && words.next() == Some(".rnbd:")
    })
}

/// Returns what is wrong with the file of a key, whose value is read but for `new`.
pub(crate) fn read(system: &System, name: &str) -> Result<Vec<u8>> {
    let path = file(name);
    let (mode, value) = fs::metadata(system.path(&path))
        .and_then(|it| Ok((it.permissions().mode(), fs::read(system.path(&path))?)))
        .map_err(|e| cannot("read", &path, &e))?;

    if mode & 0o077 != 0 {
        let message = format!("{path} can be used by others than its owner");

        return Err(Failure::new(Exit::Denied, message)
            .advise(format!("`chmod 600 {path}`; make a new key if it was read")));
    }
    if !(MIN_KEY_SIZE..=MAX_KEY_SIZE).contains(&value.len()) {
        let message = format!(
            "{path} has {} bytes, not {MIN_KEY_SIZE} to {MAX_KEY_SIZE}",
            value.len()
        );

        return Err(Failure::new(Exit::Usage, message)
            .advise("`rnbdctl key new` makes a key; the other machine needs the same file"));
    }
    Ok(value)
}

fn cannot(verb: &str, path: &str, error: &io::Error) -> Failure {
    let (exit, advice) = match error.kind() {
        io::ErrorKind::NotFound => (
            Exit::NotFound,
            "copy it from the other machine, or make it with `rnbdctl key new`",
        ),
        io::ErrorKind::AlreadyExists => (
            Exit::Failed,
            "--replace makes a new value, which the other machine needs, too",
        ),
        io::ErrorKind::PermissionDenied => (Exit::Denied, "run rnbdctl as root"),
        _ => (Exit::Failed, "check the file system"),
    };

    Failure::new(exit, format!("cannot {verb} {path}: {error}")).advise(advice)
}

/// Makes a key of random bytes, in a file that only root can read.
pub(crate) fn make(system: &System, name: &str, replace: bool) -> Result<()> {
    let path = file(name);
    let mut value = [0; SIZE];
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(system.path(DIRECTORY))
        .and_then(|()| {
            let read = getrandom(&mut value, GetRandomFlags::empty())?;

            if read == SIZE {
                write_new(system, &path, &value, replace)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        });

    written.map_err(|e| cannot("make", &path, &e))
}

fn write_new(system: &System, path: &str, value: &[u8], replace: bool) -> io::Result<()> {
    // No key can have this name, so no command takes the file for one.
    let unfinished = system.path(&format!("{DIRECTORY}/+new"));

    if !replace && system.exists(path) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let _ = fs::remove_file(&unfinished);
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;

    file.write_all(value)?;
    file.sync_all()?;
    fs::rename(unfinished, system.path(path))
}

/// Gives the kernel the key of a file, in place of the one that it has.
pub(crate) fn load(system: &System, name: &str) -> Result<()> {
    let value = read(system, name)?;

    need_keyring(system)?;
    keyctl(system, ADD, name, &value, "load")
}

/// Gives the kernel a key that it does not have, if there is a file of it.
pub(crate) fn load_if_missing(system: &System, name: &str) -> Result<()> {
    if loaded(system).iter().any(|it| it == name) || !system.exists(&file(name)) {
        return Ok(());
    }
    load(system, name)
}

/// Removes a key from the kernel; its file stays.
pub(crate) fn unload(system: &System, name: &str) -> Result<()> {
    need_keyring(system)?;
    if !loaded(system).iter().any(|it| it == name) {
        let message = format!("the kernel has no key {name}");

        return Err(
            Failure::new(Exit::NotFound, message).advise("`rnbdctl key list` shows the keys")
        );
    }
    keyctl(system, REMOVE, name, &[], "remove")
}

fn need_keyring(system: &System) -> Result<()> {
    if has_keyring(system) {
        return Ok(());
    }
    let message = "the kernel has no keyring .rnbd, or this user may not see it";

    Err(Failure::new(Exit::NoDriver, message)
        .advise("as root, `modprobe rtrs`; the C driver does not have keys"))
}

/// Runs a script in a session of its own, which holds the keyring.
fn keyctl(system: &System, script: &str, name: &str, value: &[u8], verb: &str) -> Result<()> {
    let failed =
        |why: String| Failure::new(Exit::Failed, format!("cannot {verb} key {name}: {why}"));
    let mut child = Command::new(system.path(KEYCTL))
        .args(["session", "-", "/bin/sh", "-c", script, "sh"])
        .arg(format!("rnbd:{name}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                failed(format!("there is no {KEYCTL}")).advise("install the package keyutils")
            }
            _ => failed(e.to_string()),
        })?;
    // Closed once it is written. A script that ends before that says why.
    let written = child
        .stdin
        .take()
        .map_or(Ok(()), |mut input| input.write_all(value));
    let output = child
        .wait_with_output()
        .map_err(|e| failed(e.to_string()))?;

    if output.status.success() {
        return written.map_err(|e| failed(e.to_string()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("Joined session keyring"))
        .collect();

    Err(failed(said.join("; ")).advise("run rnbdctl as root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for wrong in ["", "a/b", "../exports", "a b", &"x".repeat(64)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        assert!(check_name("web-1.a_b").is_ok());
    }
}
