// SPDX-License-Identifier: GPL-2.0-only

//! `/sys/block/rnbd<N>/rnbd`: the files of a mapped device.
//!
//! ABI: `Documentation/ABI/sysfs-rnbd-client`.

#![deny(unsafe_code)]

use crate::device::Device;
use core::fmt::Write as _;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use kernel::ModuleMetadata;
use rnbd_proto::text;
use rnbd_proto::text::UnmapMode;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::sysfs::Buf;
use rtrs::kernel_ext::sysfs::StoreCtx;

rtrs::sysfs_files! {
    /// All of them.
    pub(crate) static DISK_FILES: Files<Device> = [
        c"unmap_device" => show(show_unmap_usage) store(unmap_device);
        c"resize" => show(|_, buf| buf.push(b"Usage: echo <new size in sectors> > resize\n"))
            store(resize);
        c"remap_device" => show(|_, buf| buf.push(b"Usage: echo <1> > remap_device\n"))
            store(remap_device);
        c"state" => show(|device, buf| Ok(writeln!(buf, "{}", device.state())?));
        c"session" => show(|device, buf| show_bytes(device.session.name(), buf));
        c"mapping_path" => show(|device, buf| show_bytes(&device.path, buf));
        c"access_mode" => show(|device, buf| Ok(writeln!(buf, "{}", device.mode)?));
        c"nr_poll_queues" => show(|device, buf| {
            Ok(writeln!(buf, "{}", device.transport.nr_poll_queues())?)
        });
    ];
}

fn show_bytes(bytes: &[u8], buf: &mut Buf<'_>) -> Result {
    buf.push(bytes)?;
    buf.push(b"\n")
}

fn show_unmap_usage(_device: ArcBorrow<'_, Device>, buf: &mut Buf<'_>) -> Result {
    buf.push(b"Usage: echo <normal|force> > unmap_device\n")
}

fn unmap_device(device: ArcBorrow<'_, Device>, input: &[u8], ctx: &StoreCtx<'_>) -> Result {
    let mode = UnmapMode::parse(input).ok_or_else(|| {
        pr_err!(
            "rnbd{}: unmap_device: '{}' is neither normal nor force\n",
            device.number,
            Plain(input.escape_ascii())
        );
        EINVAL
    })?;
    // Removing the disk removes this file.
    ctx.break_protection(&crate::LocalModule::THIS_MODULE)?;
    let device = Arc::from(device);
    device.session.unmap(&device, mode)
}

fn resize(device: ArcBorrow<'_, Device>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    let sectors = text::parse_u64(input).map_err(|why| {
        pr_err!(
            "rnbd{}: resize: '{}' is not a number of sectors\n",
            device.number,
            Plain(input.escape_ascii())
        );
        Error::from_errno(-why.errno())
    })?;
    device
        .resize_by_hand(sectors)
        .inspect_err(|err| pr_err!("rnbd{}: resize: {err:?}\n", device.number))
}

fn remap_device(device: ArcBorrow<'_, Device>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
    if input.trim_ascii() != b"1" {
        pr_err!(
            "rnbd{}: remap_device: '{}' is not 1\n",
            device.number,
            Plain(input.escape_ascii())
        );
        return Err(EINVAL);
    }
    Arc::from(device)
        .remap()
        .inspect_err(|err| pr_err!("rnbd{}: remap_device: {err:?}\n", device.number))
}
