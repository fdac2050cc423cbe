// SPDX-License-Identifier: GPL-2.0-only

//! Answers to messages that are not for the block layer.

#![deny(unsafe_code)]

use kernel::prelude::*;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rtrs::server::Request;

/// Whether the client has room for the description of a device.
pub(crate) fn room_for_description(request: &Request) -> Result {
    match request.is_read() && request.data_len() >= OPEN_RSP_SIZE {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Answers with `bytes`.
pub(crate) fn reply<const N: usize>(mut request: Request, bytes: Result<[u8; N]>) {
    let result = bytes.and_then(|bytes| request.write_reply(&bytes));

    request.complete(result);
}
