// SPDX-License-Identifier: GPL-2.0-only

//! Control messages: the protocol version, and opening, querying and closing a device.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::{
    error::WireError,
    reopen_failure,
    wire::{
        name::DevicePath,
        rnbd::{
            AccessMode,
            CloseMsg,
            DescribeMsg,
            Description,
            DevInfo,
            DeviceFlags,
            DeviceId,
            Features,
            Generation,
            OpenMsg,
            OpenRsp,
            SessInfo,
            SessInfoRsp,
            DESCRIBE_RSP_SIZE,
            OPEN_RSP_SIZE,
            SESS_INFO_RSP_SIZE, //
        }, //
    }, //
};

use rtrs::{
    client::{
        Direction,
        Session, //
    },
    kernel_ext::log::Plain, //
};

use crate::device::Device;

/// Exchanges protocol versions and extensions with the server (`SESS_INFO`). Returns the
/// extensions that both sides have.
pub(crate) fn exchange_versions(session: &Session) -> Result<Features> {
    let mut buf = [0; SESS_INFO_RSP_SIZE];
    let len = session.call(Direction::Read, &SessInfo::OURS.encode(), &mut buf)?;
    let response = SessInfoRsp::parse(buf.get(..len).ok_or(EPROTO)?).map_err(malformed)?;
    session.listen(response.event_count());
    Ok(response.features())
}

/// Has the server open `device` as `mode` (`OPEN`) and describe it, as far as it has `features`.
pub(crate) fn open(
    device: &Device,
    mode: AccessMode,
    features: Features,
) -> Result<(DeviceId, Description)> {
    let response = send_open(device, mode)?;
    let id = response.device;
    let description = match features.has(Features::DESCRIPTIONS) {
        true => describe(&device.transport, id, Generation::NONE)
            .inspect_err(|_| close(&device.transport, id))?,
        false => Description::from(&response),
    };
    // Our server refuses it.
    if description.flags.has(DeviceFlags::HOST_MANAGED) {
        close(&device.transport, id);
        return Err(unsupported(device));
    }
    Ok((id, description))
}

fn send_open(device: &Device, mode: AccessMode) -> Result<OpenRsp> {
    let session = &device.transport;
    let open = OpenMsg {
        mode,
        path: DevicePath::new(&device.path).map_err(|_| EINVAL)?,
    };
    let mut buf = [0; OPEN_RSP_SIZE];
    let len = session
        .call(Direction::Read, &open.encode(), &mut buf)
        .map_err(|err| match err {
            EOPNOTSUPP => unsupported(device),
            err => err,
        })?;
    let response = buf.get(..len).ok_or(EPROTO)?;
    OpenRsp::parse(response).map_err(|err| {
        // The server has it open, and there is no other owner that would close it.
        if let Some(device) = OpenRsp::device_of(response) {
            close(session, device);
        }
        malformed(err)
    })
}

/// Has the server open `device`, which has a disk, once more: for reading, if the server does not
/// open it for writing any more. The disk takes over the capacity.
///
/// # Errors
///
/// Those of [`Device::check_identity`], [`Device::set_open`], the transport and the server;
/// `ENXIO` if the device is gone.
pub(crate) fn reopen(device: &Device, features: Features) -> Result {
    let mut mode = device.mode;
    let opened = open(device, mode, features).or_else(|err| {
        if !mode.writes() || !reopen_failure::may_be_read(-err.to_errno()) {
            return Err(err);
        }
        mode = AccessMode::ReadOnly;
        open(device, mode, features).map_err(|_| err)
    });
    let (id, description) = opened?;
    if mode != device.mode {
        pr_warn!(
            "rnbd{}: the server lets it be read only, until the session is connected again\n",
            device.number
        );
    }
    let reopened = device
        .check_identity(&description)
        .and_then(|()| device.capacity.reopened(description.geometry.sectors()))
        .and_then(|()| device.set_open(id, &description, mode));
    if reopened.is_err() {
        close(&device.transport, id);
    }
    reopened
}

/// Asks the server for the present description of `device`, which is open, and tells it which
/// one the disk has. The disk takes over the new one.
///
/// # Errors
///
/// Those of [`Device::follow_limits`], the transport and the server; `ENXIO` if the device is
/// gone.
pub(crate) fn query(device: &Device, features: Features) -> Result {
    let id = device.id().ok_or(ENOENT)?;
    let session = &device.transport;
    let description = match features.has(Features::DESCRIPTIONS) {
        true => {
            let applied = device.follower.applied();
            let description = describe(session, id, applied)?;
            device.follower.confirmed(applied);
            device.follow_limits(&description)?;
            device.follower.received(&description);
            description
        }
        false => {
            let description = device_info(session, id)?;
            device.follow_limits(&description)?;
            description
        }
    };
    device.capacity.reported(description.geometry.sectors())
}

/// Asks the server for the description of `device`, which is open (`DESCRIBE`), and tells it
/// which description the disk has `applied`.
fn describe(session: &Session, device: DeviceId, applied: Generation) -> Result<Description> {
    let msg = DescribeMsg { device, applied };
    let mut buf = [0; DESCRIBE_RSP_SIZE];
    let len = session.call(Direction::Read, &msg.encode(), &mut buf)?;
    Description::parse(buf.get(..len).ok_or(EPROTO)?).map_err(malformed)
}

/// Asks a server without [`Features::DESCRIPTIONS`] for what it can tell of `device`, which is
/// open (`DEV_INFO`).
fn device_info(session: &Session, device: DeviceId) -> Result<Description> {
    let mut buf = [0; OPEN_RSP_SIZE];
    let len = session.call(Direction::Read, &DevInfo { device }.encode(), &mut buf)?;
    let response = OpenRsp::parse(buf.get(..len).ok_or(EPROTO)?).map_err(malformed)?;
    Ok(Description::from(&response))
}

/// Has the server close `device` (`CLOSE`).
pub(crate) fn close(session: &Session, device: DeviceId) {
    let close = CloseMsg { device }.encode();
    if let Err(err) = session.call(Direction::Write, &close, &mut []) {
        pr_warn!(
            "session {}: closing device {} on the server failed: {:?}\n",
            Plain(session.name().to_bytes().escape_ascii()),
            Plain(device),
            err
        );
    }
}

/// Logs that the server has a device of a kind that cannot be mapped, and returns the error for
/// it.
fn unsupported(device: &Device) -> Error {
    rtrs::pr_err_ratelimited!(u64::from(device.number) =>
        "rnbd{}: {} is a zoned device, which cannot be mapped\n",
        device.number,
        Plain(device.path.escape_ascii())
    );
    EOPNOTSUPP
}

/// Logs that a response cannot be parsed, and returns the error for it.
fn malformed(err: WireError) -> Error {
    pr_err!("malformed response from the server: {}\n", Plain(err));
    EPROTO
}
