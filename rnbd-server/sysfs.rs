// SPDX-License-Identifier: GPL-2.0-only

//! The sysfs files of a device that a session has open:
//! `/sys/class/rnbd-server/ctl/devices/<bdev>/sessions/<session>/`.
//!
//! ABI: `Documentation/ABI/sysfs-rnbd-server`.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use kernel::time::Delta;
use kernel::ModuleMetadata;
use rnbd_proto::wire::rnbd::AccessMode;
use rnbd_proto::wire::rnbd::DeviceId;
use rtrs::kernel_ext::kobject::SysfsParent;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::sysfs::Buf;
use rtrs::kernel_ext::sysfs::StoreCtx;
use rtrs::kernel_ext::sysfs::SysfsDir;

use crate::devices::Devices;

/// How long `force_close` waits for requests in flight.
const FORCE_CLOSE_TIMEOUT: Delta = Delta::from_secs(5);

rtrs::sysfs_files! {
    static DEVICE_FILES: Files<DeviceFiles> = [
        c"read_only" => show(DeviceFiles::show_read_only);
        c"access_mode" => show(DeviceFiles::show_access_mode);
        c"mapping_path" => show(DeviceFiles::show_mapping_path);
        c"force_close" => show(DeviceFiles::show_usage) store(DeviceFiles::force_close);
    ];
}

/// The values that the files show, and the device that `force_close` closes.
pub(crate) struct DeviceFiles {
    pub(crate) devices: Arc<Devices>,
    pub(crate) id: DeviceId,
    pub(crate) mode: AccessMode,
    /// The path by which the client opened the device.
    pub(crate) path: KVec<u8>,
}

impl DeviceFiles {
    /// Creates the directory, named after the session. It refers to the devices of the
    /// session: a reference cycle, which closing the device breaks.
    pub(crate) fn create(self, parent: &SysfsParent) -> Result<SysfsDir> {
        let this = Arc::new(self, GFP_KERNEL)?;

        SysfsDir::new(parent, this.devices.name(), this.clone(), &DEVICE_FILES)
    }

    fn show_read_only(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(if this.mode.writes() { b"0\n" } else { b"1\n" })
    }

    fn show_access_mode(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(this.mode.as_str().as_bytes())?;
        buf.push(b"\n")
    }

    fn show_mapping_path(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(&this.path)?;
        buf.push(b"\n")
    }

    fn show_usage(_this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        buf.push(b"Usage: echo 1 > force_close\n")
    }

    /// Closes the device although the client has it open.
    fn force_close(this: ArcBorrow<'_, Self>, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
        if input != b"1" {
            pr_err!(
                "{}: force_close: invalid value '{}'\n",
                this.devices.name(),
                Plain(input.escape_ascii())
            );
            return Err(EINVAL);
        }
        // Closing removes the directory of this file. Two writers may get here; the second
        // finds the device closed already.
        ctx.break_protection(&crate::LocalModule::THIS_MODULE)?;
        pr_info!(
            "{}: force close of '{}' requested\n",
            this.devices.name(),
            Plain(this.path.escape_ascii())
        );
        if let Some(drain) = this.devices.force_close(this.id) {
            // If the write returns after the device is closed, it can be opened again.
            if !drain.wait_at_most(FORCE_CLOSE_TIMEOUT) {
                pr_warn!(
                    "{}: '{}' still has requests in flight, it is closed when they complete\n",
                    this.devices.name(),
                    Plain(this.path.escape_ascii())
                );
            }
        }
        Ok(())
    }
}
