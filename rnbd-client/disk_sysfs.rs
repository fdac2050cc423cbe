// SPDX-License-Identifier: GPL-2.0-only

//! `/sys/block/rnbd<N>/rnbd`: the files of a mapped device.
//!
//! ABI: `Documentation/ABI/sysfs-rnbd-client`.

#![deny(unsafe_code)]

use core::fmt::Write as _;

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    ModuleMetadata, //
};

use rnbd_proto::text::{
    self,
    UnmapMode, //
};

use rtrs::kernel_ext::{
    log::Plain,
    sysfs::{
        Buf,
        StoreCtx, //
    }, //
};

use crate::{
    device::Device,
    mq::Disk,
    open_devices::OpenDevices, //
};

rtrs::sysfs_files! {
    static DISK_FILES: Files<DiskFiles> = [
        c"unmap_device" => show(|_, buf| buf.push(b"Usage: echo <normal|force> > unmap_device\n"))
            store(DiskFiles::unmap_device);
        c"resize" => show(|_, buf| buf.push(b"Usage: echo <new size in sectors> > resize\n"))
            store(DiskFiles::resize);
        c"remap_device" => show(|_, buf| buf.push(b"Usage: echo <1> > remap_device\n"))
            store(DiskFiles::remap_device);
        c"state" => show(|this, buf| Ok(writeln!(buf, "{}", this.device.state())?));
        c"session" => show(|this, buf| show_bytes(this.device.transport.name().to_bytes(), buf));
        c"mapping_path" => show(|this, buf| show_bytes(&this.device.path, buf));
        c"access_mode" => show(|this, buf| Ok(writeln!(buf, "{}", this.device.mode)?));
        c"wwid" => show(|this, buf| match this.device.identity() {
            Some(identity) => Ok(writeln!(buf, "{identity}")?),
            None => buf.push(b"\n"),
        });
        c"nr_poll_queues" => show(|this, buf| {
            Ok(writeln!(buf, "{}", this.device.transport.nr_poll_queues())?)
        });
    ];
}

/// Unmaps a device, for the file `unmap_device`.
pub(crate) trait Unmap: Send + Sync {
    /// Unmaps `device`, which removes its files.
    ///
    /// # Errors
    ///
    /// `EBUSY` when the disk stays open and `mode` is normal, `EALREADY` when another task has
    /// unmapped the device.
    fn unmap(&self, device: &Arc<Device>, mode: UnmapMode) -> Result;
}

/// The object that the files of a disk are bound to.
///
/// It holds the session, which holds the disk: a cycle that ends when the device is unmapped.
pub(crate) struct DiskFiles {
    pub(crate) device: Arc<Device>,
    pub(crate) open_devices: Arc<OpenDevices>,
    pub(crate) session: Arc<dyn Unmap>,
}

impl DiskFiles {
    /// Adds the directory to `disk`, which is that of the device.
    pub(crate) fn add_to(self, disk: &mut Disk<Device>) -> Result {
        disk.add_dir(c"rnbd", Arc::new(self, GFP_KERNEL)?, &DISK_FILES)
    }

    fn unmap_device(this: ArcBorrow<'_, Self>, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
        let mode = UnmapMode::parse(input).ok_or_else(|| {
            pr_err!(
                "rnbd{}: unmap_device: '{}' is neither normal nor force\n",
                this.device.number,
                Plain(input.escape_ascii())
            );
            EINVAL
        })?;
        // Removing the disk removes this file, and drops the directory's reference to `this`;
        // the set of files, to which the caller has a reference, keeps another one.
        ctx.break_protection(&crate::LocalModule::THIS_MODULE)?;
        this.session.unmap(&this.device, mode)
    }

    fn resize(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        let sectors = text::parse_u64(input).map_err(|err| {
            pr_err!(
                "rnbd{}: resize: '{}' is not a number of sectors\n",
                this.device.number,
                Plain(input.escape_ascii())
            );
            Error::from_errno(-err.errno())
        })?;
        this.device
            .resize(sectors)
            .inspect_err(|err| pr_err!("rnbd{}: resize: {err:?}\n", this.device.number))
    }

    fn remap_device(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        let device = &this.device;
        if input.trim_ascii() != b"1" {
            pr_err!(
                "rnbd{}: remap_device: '{}' is not 1\n",
                device.number,
                Plain(input.escape_ascii())
            );
            return Err(EINVAL);
        }
        device
            .check_closed()
            .and_then(|()| this.open_devices.reopen(device))
            .inspect_err(|err| pr_err!("rnbd{}: remap_device: {err:?}\n", device.number))
    }
}

fn show_bytes(bytes: &[u8], buf: &mut Buf<'_>) -> Result {
    buf.push(bytes)?;
    buf.push(b"\n")
}
