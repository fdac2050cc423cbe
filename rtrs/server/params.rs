// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters of the server side.

use kernel::prelude::*;

use rnbd_proto::{
    limits::{
        ServerLimits,
        DEFAULT_CHUNK_SIZE,
        DEFAULT_QUEUE_DEPTH,
        MAX_QUEUE_DEPTH,
        MIN_CHUNK_SIZE, //
    },
    quota::{
        self,
        MemoryLimits,
        Quota, //
    }, //
};

use crate::{
    kernel_ext::{
        log::Plain,
        pages, //
    },
    module_params, //
};

module_params! {
    module "rtrs";
    /// Bytes of the largest I/O; a chunk has 4 KiB for headers in addition.
    MAX_CHUNK_SIZE = max_chunk_size: u32 (DEFAULT_CHUNK_SIZE),
        "Server: bytes of the largest I/O, a power of two, at least 8192; a chunk has 4096 more for headers (default: 131072)";
    /// Number of chunks of a path, each for one request in flight.
    SESS_QUEUE_DEPTH = sess_queue_depth: u32 (DEFAULT_QUEUE_DEPTH),
        "Server: requests in flight per session, 1 to 65535 (default: 512)";
    /// Whether a client loses access to a chunk while the request in it is executed.
    ALWAYS_INVALIDATE = always_invalidate: bool (true),
        "Server: invalidate a client's key before its request is read, and send a new one with the response (default: Y)";
    /// Maximum number of paths of all clients.
    MAX_PATHS = max_paths: u32 (quota::DEFAULT_PATHS),
        "Server: paths of all clients, each with its own sess_queue_depth * (max_chunk_size + 4096) bytes of memory (default: 1024)";
    /// Maximum number of paths of the clients at one address.
    MAX_PATHS_PER_PEER = max_paths_per_peer: u32 (quota::DEFAULT_PEER_PATHS),
        "Server: paths of clients at one address, at most max_paths (default: 256)";
    /// Maximum number of sessions of the clients at one address.
    MAX_SESSIONS_PER_PEER = max_sessions_per_peer: u32 (quota::DEFAULT_PEER_SESSIONS),
        "Server: sessions of clients at one address, at most max_paths_per_peer (default: 128)";
    /// Maximum number of connections of a path.
    MAX_CONNECTIONS_PER_PATH = max_connections_per_path: u32 (quota::DEFAULT_CONNECTIONS),
        "Server: connections of a path, 2 to 4096; a client makes one, one for each of its CPUs, and those for polled I/O (default: 4096)";
    /// Maximum number of connections of the clients at one address.
    MAX_CONNECTIONS_PER_PEER = max_connections_per_peer: u32 (quota::DEFAULT_PEER_CONNECTIONS),
        "Server: connections of clients at one address, at least 2; each has queues of sess_queue_depth requests (default: 16384)";
    /// Memory of all clients.
    MAX_MEMORY = max_memory: u32 (0),
        "Server: MiB of memory for the paths of all clients, their queues included; 0: half of the RAM (default: 0)";
    /// Memory of the clients at one address.
    MAX_MEMORY_PER_PEER = max_memory_per_peer: u32 (0),
        "Server: MiB of memory for the paths of clients at one address; 0: three quarters of max_memory (default: 0)";
}

/// Checks the parameters when the module is loaded.
///
/// # Errors
///
/// `EINVAL`, with a line in the log that names the parameter.
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

/// Logs the parameters that C has in another module, when a server starts.
pub(super) fn log() {
    pr_info!(
        "server: max_chunk_size={} sess_queue_depth={} always_invalidate={} (options of rtrs, not of rtrs_server)\n",
        MAX_CHUNK_SIZE.get(),
        SESS_QUEUE_DEPTH.get(),
        if ALWAYS_INVALIDATE.get() { 'Y' } else { 'N' }
    );
    let memory = memory();
    pr_info!(
        "server: at most {} MiB for paths, {} MiB for those of one peer\n",
        memory.bytes() >> 20,
        memory.peer_bytes() >> 20
    );
}

/// Returns the limits of memory.
fn memory() -> MemoryLimits {
    MemoryLimits {
        mib: MAX_MEMORY.get(),
        peer_mib: MAX_MEMORY_PER_PEER.get(),
        ram: pages::ram(),
    }
}

/// Returns the quotas of clients.
pub(super) fn quota() -> Quota {
    let memory = memory();

    Quota {
        paths: MAX_PATHS.get(),
        peer_paths: MAX_PATHS_PER_PEER.get(),
        peer_sessions: MAX_SESSIONS_PER_PEER.get(),
        connections: MAX_CONNECTIONS_PER_PATH.get(),
        peer_connections: MAX_CONNECTIONS_PER_PEER.get(),
        bytes: memory.bytes(),
        peer_bytes: memory.peer_bytes(),
    }
}

/// Returns the queue depth and the chunk size.
pub(super) fn limits() -> Result<ServerLimits> {
    let (depth, size) = (SESS_QUEUE_DEPTH.get(), MAX_CHUNK_SIZE.get());
    ServerLimits::new(depth, size).map_err(|e| {
        pr_err!(
            "parameters sess_queue_depth={depth} and max_chunk_size={size} refused: {}\n",
            Plain(e)
        );
        EINVAL
    })
}

/// Returns whether keys are invalidated for each request.
pub(super) fn always_invalidate() -> bool {
    ALWAYS_INVALIDATE.get()
}
