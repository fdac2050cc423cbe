// SPDX-License-Identifier: GPL-2.0-only

//! Control messages: the protocol version, and opening, querying and closing a device.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::{
    error::WireError,
    wire::{
        name::DevicePath,
        rnbd::{
            CloseMsg,
            DevInfo,
            DeviceId,
            OpenMsg,
            OpenRsp,
            SessInfo,
            SessInfoRsp,
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

/// Exchanges protocol versions and extensions with the server (`SESS_INFO`).
pub(crate) fn exchange_versions(session: &Session) -> Result {
    let mut buf = [0; SESS_INFO_RSP_SIZE];
    let len = session.call(Direction::Read, &SessInfo::OURS.encode(), &mut buf)?;
    let response = SessInfoRsp::parse(buf.get(..len).ok_or(EPROTO)?).map_err(malformed)?;
    session.listen(response.event_count());
    Ok(())
}

/// Has the server open `device` (`OPEN`).
pub(crate) fn open(device: &Device) -> Result<OpenRsp> {
    let session = &device.transport;
    let open = OpenMsg {
        mode: device.mode,
        path: DevicePath::new(&device.path).map_err(|_| EINVAL)?,
    };
    let mut buf = [0; OPEN_RSP_SIZE];
    let len = session.call(Direction::Read, &open.encode(), &mut buf)?;
    let response = buf.get(..len).ok_or(EPROTO)?;
    OpenRsp::parse(response).map_err(|err| {
        // The server has it open, and there is no other owner that would close it.
        if let Some(device) = OpenRsp::device_of(response) {
            close(session, device);
        }
        malformed(err)
    })
}

/// Has the server open `device`, which has a disk, once more. The disk takes over the
/// capacity.
pub(crate) fn reopen(device: &Device) -> Result {
    let response = open(device)?;
    let reopened = device
        .capacity
        .reopened(response.geometry.sectors())
        .and_then(|()| device.set_open(&response));
    if reopened.is_err() {
        close(&device.transport, response.device);
    }
    reopened
}

/// Asks the server for the capacity of `device`, which is open (`DEV_INFO`). The disk takes it
/// over.
pub(crate) fn query(device: &Device) -> Result {
    let query = DevInfo {
        device: device.id().ok_or(ENOENT)?,
    };
    let mut buf = [0; OPEN_RSP_SIZE];
    let len = device
        .transport
        .call(Direction::Read, &query.encode(), &mut buf)?;
    let response = OpenRsp::parse(buf.get(..len).ok_or(EPROTO)?).map_err(malformed)?;
    device.capacity.reported(response.geometry.sectors())
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

/// Logs that a response cannot be parsed, and returns the error for it.
fn malformed(err: WireError) -> Error {
    pr_err!("malformed response from the server: {}\n", Plain(err));
    EPROTO
}

/// Returns whether `err` may come from the transport, or from a passing shortage, rather than
/// being the decision of the server about a device.
pub(crate) fn is_transient(err: Error) -> bool {
    [
        ECONNABORTED,
        ETIMEDOUT,
        ENOTCONN,
        ERESTARTSYS,
        ENOMEM,
        ENOSPC,
    ]
    .contains(&err)
}
