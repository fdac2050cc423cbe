// SPDX-License-Identifier: GPL-2.0-only

//! From an error number of a write to a sentence.

use std::io;

use rustix::io::Errno;

use crate::{
    failure::{
        Exit,
        Failure, //
    },
    rdma,
    system::System, //
};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Map a device.
    Map,
    /// Unmap a device.
    Unmap,
    /// Open a device on the server again.
    Remap,
    /// Set the size of a device.
    Resize,
    /// Add or connect a path.
    Connect,
    /// Write any other file.
    Write,
}

/// Exit code, reason and advice for an error.
struct Explanation(Exit, &'static str, &'static str);

/// As [`failure`], with a look at the machine.
pub(crate) fn failure_here(
    system: &System,
    attempt: Attempt,
    what: &str,
    error: &io::Error,
) -> Failure {
    let failure = failure(attempt, what, error);
    let errno = Errno::from_io_error(error);
    let unreachable = matches!(
        errno,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::ADDRNOTAVAIL | Errno::NODEV)
    );

    if matches!(attempt, Attempt::Map | Attempt::Connect)
        && unreachable
        && rdma::devices(system).is_empty()
    {
        return Failure::new(
            Exit::Failed,
            format!("{what}: this machine has no RDMA device"),
        )
        .advise("`rnbdctl doctor` says how to get one");
    }
    failure
}

/// Explains why `what` (such as `cannot map /dev/ram0`) failed with `error`.
pub(crate) fn failure(attempt: Attempt, what: &str, error: &io::Error) -> Failure {
    let Some(errno) = Errno::from_io_error(error) else {
        return Failure::new(Exit::Failed, format!("{what}: {error}"));
    };
    let name = name(errno).map_or_else(|| format!("error {}", errno.raw_os_error()), str::to_owned);

    match of_attempt(attempt, errno).or_else(|| of_any(errno)) {
        Some(Explanation(exit, reason, advice)) => {
            Failure::new(exit, format!("{what}: {reason} ({name})")).advise(advice)
        }
        None => Failure::new(Exit::Failed, format!("{what}: {error}"))
            .advise("look for the reason in the kernel's log, `journalctl -k`, on both machines"),
    }
}

/// Returns the explanation of an error that depends on what was tried.
fn of_attempt(attempt: Attempt, errno: Errno) -> Option<Explanation> {
    Some(match (attempt, errno) {
        (Attempt::Map, Errno::NXIO) => Explanation(
            Exit::Usage,
            "the session does not exist yet, and no path to the server is given",
            "give at least one --path",
        ),
        (Attempt::Map, Errno::EXIST) => Explanation(
            Exit::Failed,
            "the session has this device mapped already, or is mapping or unmapping it",
            "`rnbdctl list` shows the mapped devices",
        ),
        (Attempt::Map | Attempt::Remap, Errno::NOENT) => Explanation(
            Exit::NotFound,
            "the server has no such device, or its export rules do not let this machine have it",
            "check the path on the server; `rnbdctl rules show` and the kernel's log there say what is denied",
        ),
        (Attempt::Map | Attempt::Remap, Errno::NOTBLK) => Explanation(
            Exit::NotFound,
            "what the path leads to on the server is not a block device",
            "check the path on the server, with dev_search_path of rnbd_server before it",
        ),
        (Attempt::Map | Attempt::Remap, Errno::ACCESS) => Explanation(
            Exit::Denied,
            "the device may only be read, or this machine may not connect",
            "map it with --ro, or have the rules on the server allow more; its log names the rule",
        ),
        (Attempt::Connect, Errno::ACCESS) => Explanation(
            Exit::Denied,
            "the rules of the server do not let this address connect",
            "the log of the server says why",
        ),
        (Attempt::Map, Errno::NOSPC) => Explanation(
            Exit::Failed,
            "the server has no room for another session or path",
            "the log of the server names the limit",
        ),
        (Attempt::Map | Attempt::Remap, Errno::PERM) => Explanation(
            Exit::Denied,
            "another client has the device open for writing",
            "`rnbdctl exports` on the server shows who; use --ro, or --migration if both shall write for a while",
        ),
        (Attempt::Map | Attempt::Remap, Errno::BUSY) => Explanation(
            Exit::TryAgain,
            "the server is still closing the device, or something else there has it open",
            "try again; if it stays so, look who uses the device on the server",
        ),
        (Attempt::Remap, Errno::ALREADY) => Explanation(
            Exit::Failed,
            "the device is open",
            "nothing is to be done: I/O works",
        ),
        (Attempt::Map | Attempt::Remap | Attempt::Connect, Errno::NOTCONN) => Explanation(
            Exit::TryAgain,
            "the session has no path to the server",
            "`rnbdctl paths` shows the paths; `rnbdctl path connect` tries one at once",
        ),
        (Attempt::Unmap, Errno::BUSY) => Explanation(
            Exit::TryAgain,
            "the device is open",
            "close what uses it, or use --force: then its I/O fails",
        ),
        (Attempt::Unmap, Errno::ALREADY) => Explanation(
            Exit::TryAgain,
            "another process is unmapping it",
            "wait until `rnbdctl list` does not show it anymore",
        ),
        (Attempt::Resize, Errno::NOENT) => Explanation(
            Exit::TryAgain,
            "the device is not open on the server",
            "`rnbdctl remap` opens it again",
        ),
        (Attempt::Resize, Errno::FBIG | Errno::RANGE) => Explanation(
            Exit::Usage,
            "no disk can have this size",
            "give the size that the device has on the server",
        ),
        (Attempt::Connect, Errno::EXIST) => Explanation(
            Exit::Failed,
            "the session has this path",
            "`rnbdctl paths` shows the paths; `rnbdctl path connect` connects one that is down",
        ),
        (Attempt::Connect, Errno::NOSPC) => Explanation(
            Exit::Failed,
            "the session has as many paths as it can, or the server has no room for another",
            "remove one with `rnbdctl path remove`; the log of the server names a limit of its own",
        ),
        (Attempt::Map | Attempt::Connect, Errno::HOSTUNREACH | Errno::NETUNREACH) => Explanation(
            Exit::TryAgain,
            "there is no way to the server",
            "check the address, and that the server is up and has an RDMA device with it: \
             `rnbdctl doctor` on both machines",
        ),
        (Attempt::Map | Attempt::Connect, Errno::CONNREFUSED) => Explanation(
            Exit::TryAgain,
            "no server listens on this address and port",
            "load rnbd_server on the server, and compare --port with its parameter port_nr",
        ),
        (Attempt::Map | Attempt::Connect, Errno::CONNRESET) => Explanation(
            Exit::TryAgain,
            "the connection broke while it was set up, or the server does not want it",
            "compare the MTU of both machines, `ip link`; the kernel's log of the server says what \
             it does not want",
        ),
        (Attempt::Map | Attempt::Connect, Errno::TIMEDOUT) => Explanation(
            Exit::TryAgain,
            "the server does not respond",
            "check that it is up, that no filter drops the packets, and that the MTU is the same all the way",
        ),
        (Attempt::Map | Attempt::Connect, Errno::ADDRNOTAVAIL | Errno::NODEV) => Explanation(
            Exit::Failed,
            "no RDMA device of this machine has the address, or leads to the server",
            "`rnbdctl doctor` shows the RDMA devices; `rdma link` makes soft ones",
        ),
        (Attempt::Map | Attempt::Connect, Errno::NOKEY) => Explanation(
            Exit::NotFound,
            "this machine does not have the key",
            "copy its file from the server to /etc/rnbd/keys, or make one with `rnbdctl key new`",
        ),
        (Attempt::Map | Attempt::Connect, Errno::KEYREJECTED) => Explanation(
            Exit::Denied,
            "the key is not proven: that of the server differs, or is missing there",
            "the kernel's log, `journalctl -k`, of both machines says why",
        ),
        (Attempt::Map | Attempt::Connect, Errno::KEYEXPIRED | Errno::KEYREVOKED) => Explanation(
            Exit::Denied,
            "the key is not valid any more",
            "load it again, `rnbdctl key load`",
        ),
        (Attempt::Map, Errno::NOTUNIQ) => Explanation(
            Exit::Failed,
            "a session of this name exists with other addresses or another key, here or with another machine",
            "leave --path, --port and --key out to use it, or choose another --session",
        ),
        (Attempt::Map, Errno::OPNOTSUPP) => Explanation(
            Exit::Failed,
            "an RDMA device, or the server, lacks what is asked for",
            "the kernel's log says what; without --key a server needs no authentication",
        ),
        (Attempt::Map | Attempt::Connect, Errno::NOMEM) => Explanation(
            Exit::TryAgain,
            "there is not enough memory, here or on the server",
            "free memory, or load rtrs on the server with a smaller sess_queue_depth",
        ),
        _ => return None,
    })
}

/// Returns the explanation of an error that has one meaning whatever was tried.
fn of_any(errno: Errno) -> Option<Explanation> {
    Some(match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            Explanation(Exit::Denied, "permission denied", "run rnbdctl as root")
        }
        Errno::INVAL => Explanation(
            Exit::Usage,
            "the driver refuses the value",
            "the kernel's log, `journalctl -k`, says what is wrong with it",
        ),
        Errno::NOENT | Errno::NODEV => Explanation(
            Exit::NotFound,
            "it is gone, or the driver does not have this file",
            "look again with `rnbdctl list` and `rnbdctl sessions`",
        ),
        Errno::CONNRESET | Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::TIMEDOUT => {
            Explanation(
                Exit::TryAgain,
                "the server cannot be reached",
                "`rnbdctl paths` shows the paths; `rnbdctl doctor` checks this machine",
            )
        }
        Errno::TOOBIG => Explanation(
            Exit::Usage,
            "there is more text than a file of sysfs takes",
            "make it shorter",
        ),
        Errno::INTR => Explanation(Exit::TryAgain, "interrupted", "try again"),
        _ => return None,
    })
}

/// Returns the name of an error number.
fn name(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::INTR => "EINTR",
        Errno::NXIO => "ENXIO",
        Errno::TOOBIG => "E2BIG",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::NOTBLK => "ENOTBLK",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::FBIG => "EFBIG",
        Errno::NOSPC => "ENOSPC",
        Errno::ROFS => "EROFS",
        Errno::RANGE => "ERANGE",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::CONNRESET => "ECONNRESET",
        Errno::NOTCONN => "ENOTCONN",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::NOKEY => "ENOKEY",
        Errno::KEYEXPIRED => "EKEYEXPIRED",
        Errno::KEYREVOKED => "EKEYREVOKED",
        Errno::KEYREJECTED => "EKEYREJECTED",
        Errno::NOTUNIQ => "ENOTUNIQ",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::ALREADY => "EALREADY",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(attempt: Attempt, errno: Errno) -> Failure {
        let error = io::Error::from_raw_os_error(errno.raw_os_error());

        failure(attempt, "cannot map /dev/ram0", &error)
    }

    #[test]
    fn documented_errors_have_advice() {
        // Those that Documentation/ABI lists for each file.
        let documented = [
            (Attempt::Map, Errno::INVAL),
            (Attempt::Map, Errno::NXIO),
            (Attempt::Map, Errno::NOTCONN),
            (Attempt::Map, Errno::EXIST),
            (Attempt::Map, Errno::HOSTUNREACH),
            (Attempt::Map, Errno::CONNREFUSED),
            (Attempt::Map, Errno::CONNRESET),
            (Attempt::Map, Errno::NOENT),
            (Attempt::Map, Errno::PERM),
            (Attempt::Map, Errno::NOKEY),
            (Attempt::Map, Errno::KEYREJECTED),
            (Attempt::Map, Errno::NOTUNIQ),
            (Attempt::Map, Errno::OPNOTSUPP),
            (Attempt::Unmap, Errno::BUSY),
            (Attempt::Unmap, Errno::ALREADY),
            (Attempt::Resize, Errno::RANGE),
            (Attempt::Resize, Errno::FBIG),
            (Attempt::Resize, Errno::NOENT),
            (Attempt::Remap, Errno::ALREADY),
            (Attempt::Remap, Errno::NOTCONN),
            (Attempt::Remap, Errno::NODEV),
            (Attempt::Connect, Errno::EXIST),
            (Attempt::Connect, Errno::NOSPC),
            (Attempt::Connect, Errno::ACCESS),
            (Attempt::Map, Errno::NOSPC),
            (Attempt::Write, Errno::TOOBIG),
        ];

        for (attempt, errno) in documented {
            let failure = explained(attempt, errno);

            assert!(failure.advice.is_some(), "{attempt:?} {errno}");
            assert!(failure.message.contains("(E"), "{}", failure.message);
        }
    }

    #[test]
    fn the_same_error_means_different_things() {
        assert_eq!(explained(Attempt::Map, Errno::PERM).exit, Exit::Denied);
        assert!(explained(Attempt::Map, Errno::PERM)
            .message
            .contains("another client"));
        assert!(explained(Attempt::Write, Errno::PERM)
            .message
            .contains("permission"));
        assert_eq!(
            explained(Attempt::Resize, Errno::NOENT).exit,
            Exit::TryAgain
        );
    }

    #[test]
    fn unknown_errors_point_at_the_log() {
        let failure = explained(Attempt::Map, Errno::PROTO);

        assert!(failure.advice.unwrap_or_default().contains("journalctl"));
    }
}
