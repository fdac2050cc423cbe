// SPDX-License-Identifier: GPL-2.0-only

//! The sysfs files of a device that a session has open:
//! `/sys/class/rnbd-server/ctl/devices/<bdev>/sessions/<session>/`.
//!
//! ABI: `Documentation/ABI/sysfs-rnbd-server`.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    time::Delta,
    ModuleMetadata, //
};

use rtrs::kernel_ext::{
    kobject::SysfsParent,
    log::Plain,
    sysfs::{
        Buf,
        StoreCtx,
        SysfsDir, //
    }, //
};

use crate::open_device::OpenDevice;

/// How long `force_close` waits for requests in flight.
const FORCE_CLOSE_TIMEOUT: Delta = Delta::from_secs(5);

rtrs::sysfs_files! {
    static DEVICE_FILES: Files<OpenDevice> = [
        c"read_only" => show(show_read_only);
        c"access_mode" => show(show_access_mode);
        c"mapping_path" => show(show_mapping_path);
        c"force_close" => show(show_force_close) store(store_force_close);
    ];
}

/// Creates the directory of `device` in `parent`, named after the session.
pub(crate) fn create(device: &Arc<OpenDevice>, parent: &SysfsParent) -> Result<SysfsDir> {
    SysfsDir::new(parent, device.session(), device.clone(), &DEVICE_FILES)
}

fn show_read_only(device: ArcBorrow<'_, OpenDevice>, buf: &mut Buf<'_>) -> Result {
    buf.push(if device.mode().writes() {
        b"0\n"
    } else {
        b"1\n"
    })
}

fn show_access_mode(device: ArcBorrow<'_, OpenDevice>, buf: &mut Buf<'_>) -> Result {
    buf.push(device.mode().as_str().as_bytes())?;
    buf.push(b"\n")
}

fn show_mapping_path(device: ArcBorrow<'_, OpenDevice>, buf: &mut Buf<'_>) -> Result {
    buf.push(device.path())?;
    buf.push(b"\n")
}

fn show_force_close(_device: ArcBorrow<'_, OpenDevice>, buf: &mut Buf<'_>) -> Result {
    buf.push(b"Usage: echo 1 > force_close\n")
}

/// Closes the device although the client has it open.
fn store_force_close(
    device: ArcBorrow<'_, OpenDevice>,
    input: &[u8],
    ctx: &StoreCtx<'_>,
) -> Result {
    if input != b"1" {
        pr_err!(
            "{}: force_close: invalid value '{}'\n",
            device.session(),
            Plain(input.escape_ascii())
        );
        return Err(EINVAL);
    }
    // Closing removes the directory of this file. Two writers may get here; the second finds
    // the device closed already.
    ctx.break_protection(&crate::LocalModule::THIS_MODULE)?;
    pr_info!(
        "{}: force close of '{}' requested\n",
        device.session(),
        Plain(device.path().escape_ascii())
    );
    // If the write returns after the device is closed, it can be opened again at once.
    if !Arc::from(device).force_close(FORCE_CLOSE_TIMEOUT) {
        pr_warn!(
            "{}: '{}' still has requests in flight, it is closed when they complete\n",
            device.session(),
            Plain(device.path().escape_ascii())
        );
    }
    Ok(())
}
