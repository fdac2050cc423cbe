// SPDX-License-Identifier: GPL-2.0-only

//! Mapping, opening again, resizing.

use std::{
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use rnbd_proto::text::{
    map_device::MapOptions,
    path_addr::{
        Addr,
        PathAddr, //
    }, //
};

use crate::{
    cli::{
        Access,
        Map, //
    },
    explain::Attempt,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    keys,
    output,
    system::System, //
};

use super::{
    find,
    path, //
};

const MAP_DEVICE: &str = "/sys/class/rnbd-client/ctl/map_device";

/// What the client logs if the name of a session is that of another machine's.
const NAME_IN_USE: &str = "the server has a session of this name with another machine";

/// Time between two looks for a device node.
const POLL: Duration = Duration::from_millis(50);

/// A device to map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Name of the session.
    pub(super) session: &'a str,
    /// Path of the device on the server.
    pub(super) device_path: &'a str,
    /// Addresses of the server.
    pub(super) paths: &'a [String],
    /// Port of the server.
    pub(super) port: Option<u16>,
    /// Name of the key to prove.
    pub(super) key: Option<&'a str>,
    /// How to open it.
    pub(super) access: Access,
    /// Number of poll queues.
    pub(super) polled: Option<i32>,
}

impl Request<'_> {
    /// Returns the line for `map_device`, or what is wrong with it.
    pub(super) fn line(&self, cpus: u32) -> std::result::Result<String, String> {
        for (what, value) in [
            ("session", self.session),
            ("device path", self.device_path),
            ("key", self.key.unwrap_or_default()),
        ] {
            if value.contains(|c: char| c.is_ascii_whitespace()) {
                return Err(format!("the {what} '{value}' contains white space"));
            }
        }
        let mut line = format!("sessname={}", self.session);

        for path in self.paths {
            line += &format!(" path={}", full_path(path)?);
        }
        line += &format!(" device_path={}", self.device_path);
        if let Some(port) = self.port {
            line += &format!(" dest_port={port}");
        }
        match self.access {
            Access { ro: true, .. } => line += " access_mode=ro",
            Access {
                migration: true, ..
            } => line += " access_mode=migration",
            Access { .. } => {}
        }
        if let Some(queues) = self.polled {
            line += &format!(" nr_poll_queues={queues}");
        }
        if let Some(key) = self.key {
            line += &format!(" key={key}");
        }
        // The driver's own grammar, for a better message than its EINVAL.
        match MapOptions::parse(line.as_bytes(), cpus) {
            Ok(_) => Ok(line),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Maps the device and returns its name, such as `rnbd0`.
    pub(super) fn map(&self, system: &System) -> Result<String> {
        find::need_client(system)?;
        let line = self.line(cpus(system)).map_err(|reason| {
            Failure::new(Exit::Usage, reason).advise("see `rnbdctl map --help`")
        })?;
        if let Some(key) = self.key {
            keys::load_if_missing(system, key)?;
        }
        let what = format!(
            "cannot map {} of session {}",
            self.device_path, self.session
        );

        path::write(system, MAP_DEVICE, &line, Attempt::Map, &what)
            .map_err(|failure| explain_name(failure, &what))?;
        self.mapped(system).ok_or_else(|| {
            Failure::new(Exit::Failed, "the device was mapped, and is gone again")
                .advise("`rnbdctl list` shows the mapped devices, `journalctl -k` what happened")
        })
    }

    /// Returns the name of the device if it is mapped.
    pub(super) fn mapped(&self, system: &System) -> Option<String> {
        system.link(&find::link(self.device_path, self.session))
    }
}

/// Says what only the driver's log tells: the error is that of a session which exists here with
/// other addresses, too.
fn explain_name(mut failure: Failure, what: &str) -> Failure {
    if failure.kernel.iter().any(|line| line.contains(NAME_IN_USE)) {
        failure.exit = Exit::Failed;
        failure.message =
            format!("{what}: another machine has a session of this name with the server");
        failure.advice = Some("choose another --session".into());
    }
    failure
}

/// Returns a path with the family of each address, `ip:` unless it is given.
pub(super) fn full_path(text: &str) -> std::result::Result<String, String> {
    let ends: Vec<String> = text.split('@').map(full_addr).collect();
    let full = ends.join("@");

    match PathAddr::parse(full.as_bytes()) {
        Ok(_) => Ok(full),
        Err(_) => Err(format!(
            "path '{text}' is no IP address (host names are not looked up; the port is --port; give --path \
             several times for several); write [<source>@]<address>, with gid: before a GID"
        )),
    }
}

fn full_addr(text: &str) -> String {
    let with_family = format!("ip:{text}");

    match Addr::parse(with_family.as_bytes()) {
        Ok(_) => with_family,
        Err(_) => text.into(),
    }
}

/// Returns the number of CPUs that are online.
pub(super) fn cpus(system: &System) -> u32 {
    let list = system.value("/sys/devices/system/cpu/online");

    list.and_then(|list| count(&list)).unwrap_or(u32::MAX)
}

/// Counts the CPUs in a list such as `0-3,5`.
fn count(list: &str) -> Option<u32> {
    list.split(',').try_fold(0u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);

        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// Waits for a device node.
pub(super) fn wait_for_node(system: &System, node: &str, end: Instant) -> Result<()> {
    let is_there = || system.is_block_device(node);

    wait_until(end, is_there, || {
        Failure::new(
            Exit::TryAgain,
            format!("{node} does not exist yet, though the device is mapped"),
        )
        .advise("check devtmpfs and udev, `systemctl status systemd-udevd`")
    })
}

/// Waits for what udev makes. Fails with `late` if it is not there at `end`.
pub(super) fn wait_until(
    end: Instant,
    is_there: impl Fn() -> bool,
    late: impl FnOnce() -> Failure,
) -> Result<()> {
    while !is_there() {
        if Instant::now() >= end {
            return Err(late());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Maps a device and prints its node.
pub(super) fn map(system: &System, options: &Map, json: bool) -> Result<String> {
    let request = Request {
        session: &options.session,
        device_path: &options.device_path,
        paths: &options.paths,
        port: options.port,
        key: options.key.as_deref(),
        access: options.access,
        polled: options.polled,
    };
    let name = request.map(system)?;
    let text = if json {
        output::json([("devices", &vec![find::device(system, &name)?])])?
    } else {
        format!("/dev/{name}\n")
    };

    if let Some(seconds) = options.node.wait {
        let end = Instant::now() + Duration::from_secs(seconds);

        wait_for_node(system, &format!("/dev/{name}"), end).map_err(|mut failure| {
            failure.done.clone_from(&text);
            failure
        })?;
    }
    Ok(text)
}

/// Opens a device on the server again.
pub(super) fn remap(system: &System, device: &str) -> Result<String> {
    let device = find::device(system, device)?;

    write(system, &device.name, Attempt::Remap, "remap_device", "1")
}

/// Sets the size of a device.
pub(super) fn resize(system: &System, device: &str, size: &str) -> Result<String> {
    let sectors = sectors(size).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            format!("'{size}' is not a size in whole sectors"),
        )
        .advise("give a number and a unit: s (sectors of 512 bytes), KiB, MiB, GiB or TiB")
    })?;
    let device = find::device(system, device)?;

    write(
        system,
        &device.name,
        Attempt::Resize,
        "resize",
        &sectors.to_string(),
    )
}

/// Parses a size with a unit, and returns it in sectors.
fn sectors(size: &str) -> Option<u64> {
    let end = size.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = size.strip_suffix(end)?.parse().ok()?;
    let shift = match end {
        "s" => 0,
        "K" | "KiB" => 1,
        "M" | "MiB" => 11,
        "G" | "GiB" => 21,
        "T" | "TiB" => 31,
        _ => return None,
    };

    number.checked_mul(1 << shift)
}

/// Writes to a file of a mapped device.
fn write(system: &System, name: &str, attempt: Attempt, file: &str, text: &str) -> Result<String> {
    let verb = if attempt == Attempt::Remap {
        "open"
    } else {
        "resize"
    };
    let what = format!("cannot {verb} {name}");

    path::write(
        system,
        &format!("/sys/block/{name}/rnbd/{file}"),
        text,
        attempt,
        &what,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Access = Access {
        ro: false,
        migration: false,
    };

    fn request(paths: &[String]) -> Request<'_> {
        Request {
            session: "s1",
            device_path: "/dev/ram0",
            paths,
            port: None,
            key: None,
            access: PLAIN,
            polled: None,
        }
    }

    #[test]
    fn lines_for_map_device() {
        let paths = [
            "10.0.0.1@10.0.0.2".into(),
            "ip:fd00::2".into(),
            "gid:fe80::1".into(),
        ];
        let mut all = request(&paths);

        all.port = Some(4321);
        all.access.migration = true;
        all.polled = Some(-1);
        all.key = Some("web1");
        assert_eq!(
            all.line(4).as_deref(),
            Ok(
                "sessname=s1 path=ip:10.0.0.1@ip:10.0.0.2 path=ip:fd00::2 path=gid:fe80::1 \
                device_path=/dev/ram0 dest_port=4321 access_mode=migration nr_poll_queues=-1 \
                key=web1"
            )
        );
        assert_eq!(
            request(&[]).line(4).as_deref(),
            Ok("sessname=s1 device_path=/dev/ram0")
        );
    }

    #[test]
    fn wrong_options() {
        let wrong = |change: &dyn Fn(&mut Request<'_>)| {
            let mut wrong = request(&[]);

            change(&mut wrong);
            wrong.line(2).expect_err("wrong options")
        };

        assert!(wrong(&|r| r.session = "").contains("sessname has no value"));
        assert!(wrong(&|r| r.session = "a/b").contains("bad name"));
        assert!(wrong(&|r| r.session = "a path=ip:1.2.3.4").contains("white space"));
        assert!(wrong(&|r| r.device_path = "a access_mode=ro").contains("white space"));
        assert!(wrong(&|r| r.polled = Some(3)).contains("nr_poll_queues"));
        assert!(wrong(&|r| r.key = Some("a/b")).contains("key: 'a/b' is not"));
        assert!(wrong(&|r| r.key = Some("a access_mode=ro")).contains("white space"));
        for path in ["", "host", "10.0.0.300", "a@b", "10.0.0.1@", "tcp:10.0.0.1"] {
            let paths = [path.to_owned()];

            assert!(request(&paths).line(2).is_err(), "{path}");
        }
    }

    #[test]
    fn a_name_of_another_machine_needs_another_name() {
        let line = format!("rtrs_client: a: {NAME_IN_USE}; choose another name");
        let failure = |kernel| Failure {
            kernel,
            ..Failure::new(Exit::TryAgain, "unknown").advise("leave --path out")
        };
        let explained = explain_name(failure(vec![line]), "cannot map a");

        assert_eq!(explained.exit, Exit::Failed);
        assert_eq!(
            explained.advice.as_deref(),
            Some("choose another --session")
        );
        let other = explain_name(failure(Vec::new()), "cannot map a");

        assert_eq!(other.message, "unknown");
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(sectors("8s"), Some(8));
        assert_eq!(sectors("1K"), Some(2));
        assert_eq!(sectors("1G"), Some(2 << 20));
        assert_eq!(sectors("3GiB"), Some(6 << 20));
        assert_eq!(sectors("3MiB"), Some(6 << 10));
        assert_eq!(sectors("1T"), Some(2 << 30));
        for wrong in [
            "",
            "8",
            "s",
            "-1s",
            "1.5G",
            "8 s",
            "8B",
            "8GB",
            "8MiBs",
            "99999999999T",
            "8é",
        ] {
            assert_eq!(sectors(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3,5"), Some(5));
        assert_eq!(count("3-0"), None);
        assert_eq!(count("x"), None);
    }
}
