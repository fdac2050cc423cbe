// SPDX-License-Identifier: GPL-2.0-only

//! A check that a session carries data, before a disk relies on it.
//!
//! Setting up a session and opening a device take short messages only. Where long packets are
//! lost, as with a network interface or a switch of a smaller MTU, all of that succeeds, and the
//! first read breaks the connection. The path is connected again, which succeeds too, and the
//! read is sent again: reading the partition table would take for ever.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use rnbd_proto::wire::rnbd::{
    BlockOp,
    IoFlags,
    IoMsg, //
};

use rtrs::{
    client::Direction,
    kernel_ext::log::Plain, //
};

use crate::{
    device::Device,
    mq::SECTOR_SIZE, //
};

/// Number of reads: a connection may break for another reason.
const READS: u32 = 2;
/// Length of the read: that of the longest packet of RoCE and InfiniBand.
const LEN: u32 = 4096;
/// How long a lost path may take to come back, and the interval of looking for it.
const BACK_MS: i64 = 6_000;
const STEP_MS: i64 = 50;

/// Reads the first bytes of `device`, which is open and has so many `sectors`. Takes up to 30 s.
///
/// # Errors
///
/// `ECONNABORTED` when each read broke the connection, `ETIMEDOUT` without a response; both with
/// a line in the log. An error of the device is for those who are going to read it.
pub(crate) fn probe(device: &Device, sectors: u64) -> Result {
    let len = u32::try_from(sectors.saturating_mul(SECTOR_SIZE.into())).unwrap_or(LEN);
    let len = len.min(LEN);
    if len == 0 {
        return Ok(());
    }
    for _ in 0..READS {
        match read(device, len) {
            Err(e) if e == ECONNABORTED || e == ENOTCONN => wait_for_path(device),
            Err(e) if e == ETIMEDOUT || e == ERESTARTSYS => {
                pr_err!("rnbd{}: no response to a first read\n", device.number);
                return Err(e);
            }
            _ => return Ok(()),
        }
    }
    pr_err!(
        "rnbd{}: session {}: connections break when data of {LEN} bytes is read, and carry short messages; check that the MTU is the same on both machines and in between\n",
        device.number,
        Plain(device.transport.name().to_bytes().escape_ascii())
    );
    Err(ECONNABORTED)
}

fn read(device: &Device, len: u32) -> Result {
    let mut data = KVec::from_elem(0_u8, usize::try_from(len)?, GFP_KERNEL)?;
    let read = IoMsg::new(
        device.id().ok_or(ENOTCONN)?,
        BlockOp::Read,
        IoFlags::NONE,
        0,
        len,
        0,
    )
    .map_err(|err| Error::from_errno(-err.errno()))?;
    device
        .transport
        .call(Direction::Read, &read.encode(), &mut data)
        .map(drop)
}

/// Waits until the session has a path and the server has the device open again.
fn wait_for_path(device: &Device) {
    for _ in 0..BACK_MS / STEP_MS {
        fsleep(Delta::from_millis(STEP_MS));
        if device.transport.is_live() {
            return;
        }
    }
}
