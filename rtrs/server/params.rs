// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module that concern the server side.

use kernel::prelude::*;
use rnbd_proto::limits::ServerLimits;
use rnbd_proto::limits::DEFAULT_CHUNK_SIZE;
use rnbd_proto::limits::DEFAULT_QUEUE_DEPTH;
use rnbd_proto::limits::MAX_QUEUE_DEPTH;
use rnbd_proto::limits::MIN_CHUNK_SIZE;

use crate::module_params;
use crate::support::log::Plain;

module_params! {
    module "rtrs";
    /// Bytes of a chunk: the largest I/O and 4 KiB of headers.
    MAX_CHUNK_SIZE = max_chunk_size: u32 (DEFAULT_CHUNK_SIZE),
        "Server: bytes of a chunk, that is of the largest I/O and 4096 of headers; a power of two, at least 8192 (default: 131072)";
    /// Chunks of a path, each for one request in flight.
    SESS_QUEUE_DEPTH = sess_queue_depth: u32 (DEFAULT_QUEUE_DEPTH),
        "Server: requests in flight per session, 1 to 65535 (default: 512)";
    /// Whether a client loses access to a chunk while its request is served.
    ALWAYS_INVALIDATE = always_invalidate: bool (true),
        "Server: invalidate a client's key before its request is looked at, and hand out a new one with the answer (default: Y)";
}

/// Checks the parameters, for the load of the module.
///
/// # Errors
///
/// `EINVAL` with a line in the log that says what is wrong.
pub(crate) fn check() -> Result {
    MAX_CHUNK_SIZE.require(
        |size| size >= MIN_CHUNK_SIZE && size.is_power_of_two(),
        "a power of two, at least 8192",
    )?;
    SESS_QUEUE_DEPTH.require(
        |depth| (1..=MAX_QUEUE_DEPTH).contains(&depth),
        "between 1 and 65535",
    )?;
    limits().map(drop)
}

/// Depth of the queue and size of the chunks.
pub(super) fn limits() -> Result<ServerLimits> {
    let (depth, size) = (SESS_QUEUE_DEPTH.get(), MAX_CHUNK_SIZE.get());
    ServerLimits::new(depth, size).map_err(|reason| {
        pr_err!(
            "parameters sess_queue_depth={depth} and max_chunk_size={size} refused: {}\n",
            Plain(reason)
        );
        EINVAL
    })
}

/// Whether keys are invalidated for each request.
pub(super) fn always_invalidate() -> bool {
    ALWAYS_INVALIDATE.get()
}
