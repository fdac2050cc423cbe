// SPDX-License-Identifier: GPL-2.0-only

//! How much memory of a server a path takes, computed before any of it is allocated.
//!
//! The sizes of queue entries are those of the larger drivers; a device that needs less is
//! overestimated. What a device keeps in memory of its own does not count.

use crate::{
    imm::INLINE_IMM_SIZE,
    limits::{
        ServerLimits,
        HEADER_SIZE, //
    },
    recv_window::recv_window,
    response_credits::ResponseCredits, //
};

/// Receives posted on the control connection.
pub const CONTROL_DEPTH: u32 = 512;

/// Memory of a work request in a send queue, and of its operation, in bytes.
const SEND: u64 = 256;
/// The same in a receive queue.
const RECEIVE: u64 = 256;
/// Memory of a header of an eager request, and of the mapping of its data, in bytes.
const EAGER: u64 = 512;
/// Memory of an entry of a completion queue, in bytes.
const COMPLETION: u64 = 64;
/// Memory of a request in the queues between interrupts and workers, in bytes.
const REQUEST: u64 = 128;
/// Memory of the objects of a chunk beside its pages and the copy of its message, in bytes.
const CHUNK: u64 = 1024;
/// Memory of the objects of a path and of each of its connections, in bytes.
const OBJECT: u64 = 8192;

/// The numbers of entries of the queues of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSizes {
    /// Send queue, and when its work requests are signaled.
    pub send: ResponseCredits,
    /// Receives that are posted once the path is up.
    pub receives: u32,
    /// Receive queue: one more, for INFO_REQ.
    pub recv: u32,
}

impl QueueSizes {
    /// Returns the sizes for connection `id` of a path.
    pub const fn new(id: u16, shape: &PathShape) -> Self {
        let (send, receives) = match id {
            // Control messages are few; enough for heartbeats and their acknowledgements.
            0 => (
                ResponseCredits {
                    capacity: 2 * CONTROL_DEPTH + 2,
                    low_watermark: CONTROL_DEPTH,
                },
                CONTROL_DEPTH,
            ),
            _ => {
                let depth = shape.limits.queue_depth();
                let receives = match shape.is_eager() {
                    true => recv_window(depth, shape.connections),
                    false => depth.get(),
                };
                // Invalidations of chunks come in addition to responses, from any connection.
                let send =
                    ResponseCredits::new(depth.get() as u32, shape.new_rkey, shape.is_eager());
                (send, receives as u32)
            }
        };
        Self {
            send,
            receives,
            recv: receives + 1,
        }
    }

    /// Returns the memory of these queues in bytes, with `buffer` bytes for each receive.
    fn bytes(self, buffer: u64) -> u64 {
        let (send, recv) = (u64::from(self.send.capacity), u64::from(self.recv));

        send.saturating_mul(SEND.saturating_add(COMPLETION))
            .saturating_add(recv.saturating_mul(RECEIVE + COMPLETION + REQUEST + buffer))
            .saturating_add(OBJECT)
    }
}

/// What decides how much memory a path takes.
#[derive(Clone, Copy, Debug)]
pub struct PathShape {
    /// Queue depth and chunk size of the server.
    pub limits: ServerLimits,
    /// Bytes of the pages of a chunk.
    pub chunk: u64,
    /// Whether a chunk has a new key after each response.
    pub new_rkey: bool,
    /// Number of connections, the one for control included.
    pub connections: u16,
    /// Whether immediates are inline.
    pub inline_imm: bool,
    /// Bytes of the pages for the data of an eager request; 0 if none is eager.
    pub eager_data: u64,
}

impl PathShape {
    /// Returns whether requests are eager where they fit.
    pub const fn is_eager(&self) -> bool {
        self.eager_data > 0
    }

    /// Returns the memory that the path takes once it is up, its queues included, in bytes.
    pub fn bytes(self) -> u64 {
        let queues = |id| {
            let buffer = match (id, self.inline_imm, self.eager_data) {
                (_, true, _) => INLINE_IMM_SIZE as u64,
                (0, _, _) | (_, _, 0) => 0,
                (_, _, data) => data.saturating_add(EAGER),
            };
            QueueSizes::new(id, &self).bytes(buffer)
        };
        let io = u64::from(self.connections.saturating_sub(1));
        let chunk = self
            .chunk
            .saturating_add(u64::from(HEADER_SIZE))
            .saturating_add(CHUNK)
            // For the data of a small READ.
            .saturating_add(self.eager_data);

        u64::from(self.limits.queue_depth().get())
            .saturating_mul(chunk)
            .saturating_add(queues(0))
            .saturating_add(io.saturating_mul(queues(1)))
            .saturating_add(OBJECT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        DEFAULT_CHUNK_SIZE,
        DEFAULT_QUEUE_DEPTH,
        MAX_CONNECTIONS, //
    };

    fn shape(connections: u16) -> PathShape {
        PathShape {
            limits: ServerLimits::new(DEFAULT_QUEUE_DEPTH, DEFAULT_CHUNK_SIZE).unwrap(),
            chunk: u64::from(DEFAULT_CHUNK_SIZE + HEADER_SIZE),
            new_rkey: true,
            connections,
            inline_imm: false,
            eager_data: 0,
        }
    }

    #[test]
    fn queues_count_beside_chunks() {
        let chunks = 66 << 20;
        let small = shape(3).bytes();
        assert!(small > chunks && small < chunks + (8 << 20), "{small}");
        // A path of as many connections as there can be is mostly queues.
        let large = shape(MAX_CONNECTIONS).bytes();
        assert!(large > 3 << 30, "{large}");
        let inline = PathShape {
            inline_imm: true,
            ..shape(3)
        };
        assert!(inline.bytes() > small);
    }

    #[test]
    fn buffers_for_eager_requests_stay_few_as_connections_become_many() {
        let eager = |connections| {
            let eager = PathShape {
                eager_data: 4096,
                ..shape(connections)
            };
            eager.bytes() as i64 - shape(connections).bytes() as i64 - 512 * 4096
        };
        let whole = 2 * 512 * 4096;
        assert!(eager(3) > whole && eager(3) < whole * 3 / 2, "{}", eager(3));
        assert!(eager(17) < whole * 3 / 2, "{}", eager(17));
        // Fewer receives then take back what their buffers take.
        assert!(eager(129) < 2 * whole, "{}", eager(129));
    }

    #[test]
    fn the_largest_path_does_not_overflow() {
        for (depth, size) in [(1 << 15, 8192), (2, 1 << 26)] {
            let limits = ServerLimits::new(depth, size).unwrap();
            let shape = PathShape {
                limits,
                chunk: size.into(),
                ..shape(MAX_CONNECTIONS)
            };
            assert!(shape.bytes() < 1 << 48);
        }
    }
}
