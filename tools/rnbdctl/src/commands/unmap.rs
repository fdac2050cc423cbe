// SPDX-License-Identifier: GPL-2.0-only

//! Unmapping, and who keeps a device open.

use std::{
    fs,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use rustix::io::Errno;

use crate::{
    cli::{
        Openers,
        Unmap, //
    },
    explain::{
        self,
        Attempt, //
    },
    failure::{
        Failure,
        Result, //
    },
    kmsg::Mark,
    model,
    system::System, //
};

use super::find;

/// Time between two attempts on a device that is open.
const POLL: Duration = Duration::from_millis(100);

/// Unmaps devices, and reports the first failure after trying them all.
pub(super) fn unmap(system: &System, options: &Unmap) -> Result<String> {
    let names: Vec<String> = if options.all {
        find::need_client(system)?;
        let devices = model::mapped(system).into_iter();

        devices.map(|device| device.name).collect()
    } else {
        let devices = options
            .devices
            .iter()
            .map(|text| find::device(system, text));

        devices
            .map(|device| Ok(device?.name))
            .collect::<Result<_>>()?
    };
    let mut result = Ok(String::new());

    for name in names {
        let one = unmap_one(system, &name, &options.openers);

        result = result.and(one.map(|()| String::new()));
    }
    result
}

/// Unmaps a device. One that is open for a moment only, as by udev, is tried again for
/// as long as `openers` says.
pub(super) fn unmap_one(system: &System, name: &str, openers: &Openers) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(openers.settle);
    let file = format!("/sys/block/{name}/rnbd/unmap_device");

    loop {
        let log = Mark::now(system);
        let Err(e) = system.write(&file, if openers.force { "force" } else { "normal" }) else {
            return Ok(());
        };
        let busy = Errno::from_io_error(&e) == Some(Errno::BUSY);
        let users = if busy {
            lasting_users(system, name)
        } else {
            Vec::new()
        };

        if busy && users.is_empty() && Instant::now() < end {
            thread::sleep(POLL);
            continue;
        }
        let mut failure = explain::failure(Attempt::Unmap, &format!("cannot unmap {name}"), &e);

        failure.kernel = log.lines();
        return Err(if busy {
            name_users(failure, system, name, users)
        } else {
            failure
        });
    }
}

/// Adds who uses the device to the message.
fn name_users(mut failure: Failure, system: &System, name: &str, lasting: Vec<String>) -> Failure {
    let users = if lasting.is_empty() {
        processes(system, name)
    } else {
        lasting
    };

    if !users.is_empty() {
        failure.message += &format!(": {}", users.join(", "));
    }
    failure
}

/// Returns what uses the device or a part of it for longer than a moment.
fn lasting_users(system: &System, name: &str) -> Vec<String> {
    let disk = format!("/sys/block/{name}");
    let parts = system.names(&disk).into_iter();
    let parts = parts.filter(|part| part.starts_with(name));
    let mut users = Vec::new();

    for directory in parts
        .map(|part| format!("{disk}/{part}"))
        .chain([disk.clone()])
    {
        let holders = system.names(&format!("{directory}/holders")).into_iter();

        users.extend(holders.map(|holder| format!("held by {holder}")));
        if let Some(number) = system.value(&format!("{directory}/dev")) {
            let mounts = system.value("/proc/self/mountinfo").unwrap_or_default();

            users.extend(mount_points(&mounts, &number));
        }
    }
    let swaps = system.value("/proc/swaps").unwrap_or_default();

    if swaps
        .lines()
        .any(|line| line.starts_with(&format!("/dev/{name}")))
    {
        users.push("used as swap".into());
    }
    users
}

/// Returns where a device with this number is mounted (proc_pid_mountinfo(5)).
fn mount_points(mounts: &str, number: &str) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let of_device = fields.next()? == number;

        of_device.then_some(fields.nth(1)?)
    });

    points.map(|point| format!("mounted on {point}")).collect()
}

/// Returns the processes that have the device open.
fn processes(system: &System, name: &str) -> Vec<String> {
    let node = format!("/dev/{name}");
    let mut users = Vec::new();

    for process in system.names("/proc") {
        if !process.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let descriptors = fs::read_dir(system.path(&format!("/proc/{process}/fd")));
        let mut targets = descriptors.into_iter().flatten().filter_map(|descriptor| {
            let target = fs::read_link(descriptor.ok()?.path()).ok()?;

            Some(target.to_string_lossy().into_owned())
        });

        if targets.any(|target| target.starts_with(&node)) {
            let command = system.value(&format!("/proc/{process}/comm"));

            users.push(format!(
                "open in {} ({process})",
                command.unwrap_or_default()
            ));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_a_device() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            50 22 253:0 / /mnt/a rw shared:2 - xfs /dev/rnbd0 rw\n\
            51 22 253:0 /sub /mnt/b rw - xfs /dev/rnbd0 rw\n";

        assert_eq!(
            mount_points(mounts, "253:0"),
            ["mounted on /mnt/a", "mounted on /mnt/b"]
        );
        assert!(mount_points(mounts, "253:1").is_empty());
        assert!(mount_points("garbage\n", "253:1").is_empty());
    }
}
