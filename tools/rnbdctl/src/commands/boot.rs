// SPDX-License-Identifier: GPL-2.0-only

//! What systemd and udev ask for at boot: units for the devices of rnbdtab, and properties of a
//! mapped device.

use std::{
    fs,
    io,
    os::unix::fs::symlink,
    path::Path, //
};

use crate::{
    failure::{
        Exit,
        Failure,
        Result, //
    },
    rnbdtab::{
        self,
        Entry, //
    },
    system::System,
    udev, //
};

/// The unit that all devices have in common, as packages install it.
const TEMPLATE: &str = "/usr/lib/systemd/system/rnbd-attach@.service";

/// What starts the units at boot.
const WANTS: &str = "remote-fs.target.wants";

/// For a device that the boot does not wait for: the unit counts as started as soon as its
/// command runs.
const NOFAIL: &str = "\
# Generated from /etc/rnbd/rnbdtab: the option nofail.

[Service]
Type=exec
";

/// Writes what has systemd start a unit for each device (systemd.generator(7)). A wrong line
/// does not keep the other devices from being attached.
pub(super) fn units(system: &System, directory: &Path) -> Result<String> {
    let table = rnbdtab::read(system)?;

    for entry in &table.entries {
        unit(directory, entry).map_err(|e| {
            let message = format!("cannot write a unit to {}: {e}", directory.display());

            Failure::new(Exit::Failed, message)
        })?;
    }
    table.failure().map_or_else(|| Ok(String::new()), Err)
}

fn unit(directory: &Path, entry: &Entry) -> io::Result<()> {
    let name = format!("rnbd-attach@{}.service", entry.name);

    if entry.options.nofail {
        let drop_ins = directory.join(format!("{name}.d"));

        fs::create_dir_all(&drop_ins)?;
        fs::write(drop_ins.join("nofail.conf"), NOFAIL)?;
    }
    if !entry.options.noauto {
        let wants = directory.join(WANTS);

        fs::create_dir_all(&wants)?;
        symlink(TEMPLATE, wants.join(&name))?;
    }
    Ok(())
}

/// Prints properties of a mapped device for udev's rules.
pub(super) fn udev(system: &System, name: &str) -> Result<String> {
    let disk = format!("/sys/block/{name}/rnbd");
    let value = |file: &str| {
        let path = format!("{disk}/{file}");

        system.read(&path).map_err(|e| {
            Failure::new(Exit::NotFound, format!("cannot read {path}: {e}"))
                .advise("`rnbdctl list` shows the mapped devices")
        })
    };
    let session = value("session")?;
    let device_path = value("mapping_path")?;
    // A device has its other names, whatever the table is like.
    let table = rnbdtab::read(system).unwrap_or_default();
    let entry = table.device(&session, &device_path);

    Ok(udev::properties(
        &session,
        &device_path,
        entry.map(|entry| entry.name.as_str()),
    ))
}
