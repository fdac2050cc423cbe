// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module that concern the server side.

use kernel::prelude::*;
use rnbd_proto::limits::ServerLimits;
use rnbd_proto::limits::DEFAULT_CHUNK_SIZE;
use rnbd_proto::limits::DEFAULT_QUEUE_DEPTH;
use rnbd_proto::limits::MAX_QUEUE_DEPTH;
use rnbd_proto::limits::MIN_CHUNK_SIZE;
use rnbd_proto::quota;
use rnbd_proto::quota::Quota;

use crate::kernel_ext::log::Plain;
use crate::module_params;

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
    /// Paths of all clients together.
    MAX_PATHS = max_paths: u32 (quota::DEFAULT_PATHS),
        "Server: paths of all clients, each with its own sess_queue_depth * max_chunk_size bytes of memory (default: 1024)";
    /// Paths of the clients at one address.
    MAX_PATHS_PER_PEER = max_paths_per_peer: u32 (quota::DEFAULT_PEER_PATHS),
        "Server: paths of clients at one address, at most max_paths (default: 256)";
    /// Sessions of the clients at one address.
    MAX_SESSIONS_PER_PEER = max_sessions_per_peer: u32 (quota::DEFAULT_PEER_SESSIONS),
        "Server: sessions of clients at one address, at most max_paths_per_peer (default: 128)";
    /// Connections of a path.
    MAX_CONNECTIONS_PER_PATH = max_connections_per_path: u32 (quota::DEFAULT_CONNECTIONS),
        "Server: connections of a path, 2 to 4096; a client makes one, one for each of its CPUs, and those for polled I/O (default: 4096)";
    /// Connections of the clients at one address.
    MAX_CONNECTIONS_PER_PEER = max_connections_per_peer: u32 (quota::DEFAULT_PEER_CONNECTIONS),
        "Server: connections of clients at one address, at least 2; each has queues of sess_queue_depth requests (default: 16384)";
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
    MAX_CONNECTIONS_PER_PATH.require(
        |count| (quota::MIN_CONNECTIONS..=quota::DEFAULT_CONNECTIONS).contains(&count),
        "between 2 and 4096",
    )?;
    MAX_CONNECTIONS_PER_PEER.require(|count| count >= quota::MIN_CONNECTIONS, "at least 2")?;
    MAX_PATHS.require(|count| count > 0, "at least 1")?;
    MAX_PATHS_PER_PEER.require(
        |count| (1..=MAX_PATHS.get()).contains(&count),
        "between 1 and max_paths",
    )?;
    MAX_SESSIONS_PER_PEER.require(
        |count| (1..=MAX_PATHS_PER_PEER.get()).contains(&count),
        "between 1 and max_paths_per_peer",
    )?;
    limits().map(drop)
}

/// How much clients may take.
pub(super) fn quota() -> Quota {
    Quota {
        paths: MAX_PATHS.get(),
        peer_paths: MAX_PATHS_PER_PEER.get(),
        peer_sessions: MAX_SESSIONS_PER_PEER.get(),
        connections: MAX_CONNECTIONS_PER_PATH.get(),
        peer_connections: MAX_CONNECTIONS_PER_PEER.get(),
    }
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
