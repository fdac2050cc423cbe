// SPDX-License-Identifier: GPL-2.0-only

//! Limits on sizes and counts that both sides of the protocol keep.

use crate::{
    error::WireError,
    imm::IoReqLayout, //
};

/// Default depth of a session's queue (requests in flight).
pub const DEFAULT_QUEUE_DEPTH: u32 = 512;
/// Largest depth of a session's queue.
pub const MAX_QUEUE_DEPTH: u32 = 65535;
/// Largest number of message ids that a client uses, as each costs it some 10 KiB for each path.
/// A server may offer more.
pub(crate) const MAX_CLIENT_DEPTH: u32 = 2048;
/// Default of the parameter `max_chunk_size` of a server, in bytes.
pub const DEFAULT_CHUNK_SIZE: u32 = 128 * 1024;
/// Smallest value of that parameter, in bytes.
pub const MIN_CHUNK_SIZE: u32 = 8192;
/// Space at the end of a chunk for the headers of a request, in bytes.
pub const HEADER_SIZE: u32 = 4096;
/// Smallest space for headers that a client accepts of a server, in bytes.
///
/// The longest user message (OPEN, 264 bytes) and a READ with its descriptor must fit.
pub(crate) const MIN_HEADER_SIZE: u32 = 512;
/// Largest space for headers that a client accepts of a server, in bytes (a page of 64 KiB).
pub(crate) const MAX_HEADER_SIZE: u32 = 64 * 1024;
/// Smallest maximum I/O size that a client accepts of a server, in bytes.
pub const MIN_IO_SIZE: u32 = 4096;
/// Largest number of scatter/gather segments of one request.
pub const MAX_SEGMENTS: u32 = 128;
/// Size of a unit of registered memory, in bytes.
pub const REGISTRATION_UNIT: u32 = 4096;
/// Largest number of paths of one session.
pub const MAX_PATHS: usize = 128;
/// Largest number of connections of one path.
pub(crate) const MAX_CONNECTIONS: u16 = 4096;

/// Depth of a session's queue: how many requests may be in flight.
///
/// # Invariants
///
/// Between 1 and [`MAX_QUEUE_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueDepth(u16);

impl QueueDepth {
    /// Checks `depth`.
    pub const fn new(depth: u32) -> Result<Self, WireError> {
        if depth == 0 || depth > MAX_QUEUE_DEPTH {
            return Err(WireError::QueueDepth(depth));
        }
        // INVARIANT: Checked just above; the cast keeps every bit.
        Ok(Self(depth as u16))
    }

    /// Returns the depth of the queue that a client uses of this one, which is a server's.
    pub const fn of_client(self) -> Self {
        if self.0 as u32 > MAX_CLIENT_DEPTH {
            // INVARIANT: `MAX_CLIENT_DEPTH` is a depth, which fits into 16 bits.
            Self(MAX_CLIENT_DEPTH as u16)
        } else {
            self
        }
    }

    /// Returns the depth as a number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the id `raw`, if it is below the depth.
    #[inline]
    pub const fn buffer(self, raw: u32) -> Option<BufId> {
        if raw < self.0 as u32 {
            // INVARIANT: Below the depth, which fits into 16 bits.
            Some(BufId(raw as u16))
        } else {
            None
        }
    }

    /// Returns all ids of the queue, in ascending order.
    pub fn buffers(self) -> impl ExactSizeIterator<Item = BufId> {
        (0..self.0).map(BufId)
    }

    /// Returns the number of bits of an id: 0 for a depth of 1.
    pub(crate) const fn bits(self) -> u32 {
        bits_below(self.0 as u32)
    }
}

/// Id of a chunk, which is also the message id of the request in it.
///
/// # Invariants
///
/// The id is below the depth of the queue that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufId(u16);

impl BufId {
    /// Returns the id as it is in messages.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the id as an index into a table.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Returns the largest number of registration units that `len` bytes of memory can touch.
pub const fn registration_units(len: u32) -> u32 {
    if len == 0 {
        return 0;
    }
    // At worst the first byte is the last one of its unit.
    let rest = len - 1;
    rest / REGISTRATION_UNIT + if rest % REGISTRATION_UNIT == 0 { 1 } else { 2 }
}

/// Returns the largest number of bytes, in whole units, that `units` registration units can
/// cover wherever the bytes start.
pub const fn registrable_bytes(units: u32) -> u32 {
    units.saturating_sub(1).saturating_mul(REGISTRATION_UNIT)
}

/// Returns the number of bits that the numbers below `n` need.
pub(crate) const fn bits_below(n: u32) -> u32 {
    u32::BITS.saturating_sub(n.saturating_sub(1).leading_zeros())
}

/// Queue depth and chunk size of a server, from its module parameters.
///
/// The parameter `max_chunk_size` is a power of two, and so is the size of most requests. A chunk
/// therefore has space for headers in addition, so that the largest request is as large as the
/// parameter. It has that space within, as with the C driver, where an id and an offset into a
/// larger chunk would not fit into an immediate.
///
/// # Invariants
///
/// The chunk size is at least [`MIN_CHUNK_SIZE`], and a chunk id and an offset into a chunk fit
/// into one immediate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    depth: QueueDepth,
    chunk_size: u32,
}

impl ServerLimits {
    /// Checks the values that the administrator set.
    pub const fn new(queue_depth: u32, max_chunk_size: u32) -> Result<Self, WireError> {
        let depth = match QueueDepth::new(queue_depth) {
            Ok(depth) => depth,
            Err(e) => return Err(e),
        };
        if max_chunk_size < MIN_CHUNK_SIZE || !max_chunk_size.is_power_of_two() {
            return Err(WireError::ChunkSize(max_chunk_size));
        }
        let with_header = max_chunk_size.saturating_add(HEADER_SIZE);
        let chunk_size = match IoReqLayout::new(depth, with_header) {
            Ok(_) => with_header,
            Err(_) => match IoReqLayout::new(depth, max_chunk_size) {
                Ok(_) => max_chunk_size,
                Err(e) => return Err(e),
            },
        };
        // INVARIANT: All checked above.
        Ok(Self { depth, chunk_size })
    }

    /// Returns the depth of each session's queue.
    pub const fn queue_depth(self) -> QueueDepth {
        self.depth
    }

    /// Returns the size of a chunk in bytes.
    pub const fn chunk_size(self) -> u32 {
        self.chunk_size
    }

    /// Returns the largest I/O size in bytes: a chunk without the space for headers.
    pub const fn max_io_size(self) -> u32 {
        // No underflow: a chunk is at least twice as large.
        self.chunk_size.saturating_sub(HEADER_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_client_uses_a_bounded_part_of_a_queue() {
        for (server, client) in [
            (1, 1),
            (512, 512),
            (2048, 2048),
            (2049, 2048),
            (65535, 2048),
        ] {
            let depth = QueueDepth::new(server).map(QueueDepth::of_client);
            assert_eq!(depth.map(QueueDepth::get), Ok(client), "of {server}");
        }
    }

    /// The last two are the largest that the C driver accepts, of which an immediate has no room
    /// for a larger chunk.
    #[test]
    fn the_largest_request_of_a_server_is_a_power_of_two_where_an_immediate_has_room() {
        for (depth, parameter, chunk, io) in [
            (512, 131_072, 135_168, 131_072),
            (1024, 131_072, 135_168, 131_072),
            (64, 1 << 20, (1 << 20) + 4096, 1 << 20),
            (1, 8192, 12_288, 8192),
            (2048, 131_072, 131_072, 126_976),
            (32_768, 8192, 8192, 4096),
        ] {
            let limits = ServerLimits::new(depth, parameter).unwrap();
            let found = (limits.chunk_size(), limits.max_io_size());
            assert_eq!(found, (chunk, io), "{depth} of {parameter}");
        }
        assert!(ServerLimits::new(4096, 131_072).is_err());
        assert!(ServerLimits::new(512, 132_096).is_err());
    }

    /// Counts the units for each offset in a unit that data can start at.
    #[test]
    fn data_touches_at_most_the_stated_units() {
        for len in (1..600)
            .chain(3500..4700)
            .chain(8000..8400)
            .chain([126_976, 131_071])
        {
            let largest = (0..REGISTRATION_UNIT)
                .map(|start| (start + len).div_ceil(REGISTRATION_UNIT))
                .max();
            assert_eq!(largest, Some(registration_units(len)), "{len} bytes");
        }
        assert_eq!(registration_units(0), 0);
        assert_eq!(registrable_bytes(0), 0);
        assert_eq!(
            registrable_bytes(1),
            0,
            "one unit does not cover a unit that starts inside of it"
        );
    }

    proptest! {
        /// The stated number of bytes fits, and not one unit more.
        #[test]
        fn registrable_bytes_fit(units in 1..=u32::MAX / REGISTRATION_UNIT) {
            prop_assert!(registration_units(registrable_bytes(units)) <= units);
            prop_assert!(registration_units(registrable_bytes(units) + REGISTRATION_UNIT) > units);
        }

        /// I/O of whole sectors fits into the stated number of units.
        #[test]
        fn units_suffice_for_sectors(sectors in 0..=u32::MAX >> 9) {
            prop_assert!(registrable_bytes(registration_units(sectors << 9)) >= sectors << 9);
        }
    }
}
