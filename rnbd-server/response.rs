// SPDX-License-Identifier: GPL-2.0-only

//! Responses to messages other than block requests.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;

use rtrs::server::Request;

/// Fails if the client's buffer is too small for the description of a device.
pub(crate) fn check_response_space(request: &Request) -> Result {
    match request.is_read() && request.data_len() >= OPEN_RSP_SIZE {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Completes `request` with `bytes` as its data, or with an error.
pub(crate) fn reply(mut request: Request, bytes: Result<impl AsRef<[u8]>>) {
    let result = bytes.and_then(|bytes| request.write_reply(bytes.as_ref()));

    request.complete(result);
}
