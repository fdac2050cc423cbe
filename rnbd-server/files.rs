// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows of a device that a session has open:
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

/// How long who closes a device waits for the end of its requests.
const PATIENCE: Delta = Delta::from_secs(5);

rtrs::sysfs_files! {
    static EXPORT_FILES: Files<ExportFiles> = [
        c"read_only" => show(ExportFiles::show_read_only);
        c"access_mode" => show(ExportFiles::show_access_mode);
        c"mapping_path" => show(ExportFiles::show_mapping_path);
        c"force_close" => show(ExportFiles::show_usage) store(ExportFiles::force_close);
    ];
}

/// What the files speak of.
pub(crate) struct ExportFiles {
    pub(crate) devices: Arc<Devices>,
    pub(crate) id: DeviceId,
    pub(crate) mode: AccessMode,
    /// The path as the client gave it.
    pub(crate) path: KVec<u8>,
}

impl ExportFiles {
    /// Creates the directory. The reference to the session's devices that it holds is
    /// a cycle, which ends when the device is closed.
    pub(crate) fn create(self, place: &SysfsParent) -> Result<SysfsDir> {
        let this = Arc::new(self, GFP_KERNEL)?;

        SysfsDir::new(place, this.devices.name(), this.clone(), &EXPORT_FILES)
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

    /// Closes the device under the client's hands.
    fn force_close(this: ArcBorrow<'_, Self>, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
        if input != b"1" {
            pr_err!(
                "{}: force_close: invalid value '{}'\n",
                this.devices.name(),
                Plain(input.escape_ascii())
            );
            return Err(EINVAL);
        }
        // The directory of this very file is removed below. Two may get past this; one
        // of them finds the device gone, which is what it wanted.
        ctx.break_protection(&crate::LocalModule::THIS_MODULE)?;
        pr_info!(
            "{}: force close of '{}' requested\n",
            this.devices.name(),
            Plain(this.path.escape_ascii())
        );
        if let Some(drain) = this.devices.force_close(this.id) {
            // Whoever wants the device next is told that it is free, if it soon is.
            if !drain.wait_at_most(PATIENCE) {
                pr_warn!(
                    "{}: '{}' has requests that take long, to be closed after them\n",
                    this.devices.name(),
                    Plain(this.path.escape_ascii())
                );
            }
        }
        Ok(())
    }
}
