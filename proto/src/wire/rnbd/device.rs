// SPDX-License-Identifier: GPL-2.0-only

//! CLOSE and DEV_INFO: a client closes an open device, or queries its description.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

use crate::{
    error::WireError,
    wire, //
};

use super::{
    DeviceId,
    Header,
    TYPE_CLOSE,
    TYPE_DEV_INFO, //
};

/// Size of a CLOSE in bytes.
const CLOSE_SIZE: usize = 8;
/// Size of a DEV_INFO in bytes.
const DEV_INFO_SIZE: usize = 8;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct WireDevice {
    header: Header,
    device_id: U32,
}

const _: () = assert!(size_of::<WireDevice>() == CLOSE_SIZE);
const _: () = assert!(size_of::<WireDevice>() == DEV_INFO_SIZE);

fn parse(bytes: &[u8], kind: u16) -> Result<DeviceId, WireError> {
    let msg: WireDevice = wire::read(bytes)?;

    msg.header.expect(kind)?;
    Ok(DeviceId(msg.device_id.get()))
}

fn encode(kind: u16, device: DeviceId) -> [u8; size_of::<WireDevice>()] {
    zerocopy::transmute!(WireDevice {
        header: Header::new(kind),
        device_id: device.0.into(),
    })
}

/// A client's request to close a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseMsg {
    /// The device.
    pub device: DeviceId,
}

impl CloseMsg {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        parse(bytes, TYPE_CLOSE).map(|device| Self { device })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; CLOSE_SIZE] {
        encode(TYPE_CLOSE, self.device)
    }
}

/// A client's request for the present description of a device, an [`super::OpenRsp`].
///
/// The C drivers do not have it; it requires [`super::Features::ASYNC_EVENTS`]. Peers with
/// [`super::Features::DESCRIPTIONS`] use [`super::DescribeMsg`] instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevInfo {
    /// The device.
    pub device: DeviceId,
}

impl DevInfo {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        parse(bytes, TYPE_DEV_INFO).map(|device| Self { device })
    }

    /// Encodes the message.
    pub fn encode(&self) -> [u8; DEV_INFO_SIZE] {
        encode(TYPE_DEV_INFO, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_layout!(WireDevice, 8, { header: 0, device_id: 4 });
    }
}
