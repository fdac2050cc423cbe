// SPDX-License-Identifier: GPL-2.0-only

//! Capabilities of an RDMA device, and whether they suffice.

use core::fmt;

use crate::{
    imm_support::ImmSupport,
    limits::{
        registrable_bytes,
        MAX_CLIENT_DEPTH,
        MIN_IO_SIZE,
        REGISTRATION_UNIT, //
    }, //
};

/// The limits of a device that matter to a transport.
#[derive(Clone, Copy, Debug)]
pub struct DeviceAttrs {
    /// Largest number of work requests in a queue.
    pub max_qp_wr: u32,
    /// Largest number of entries of a completion queue.
    pub max_cqe: u32,
    /// Largest number of scatter/gather elements of a send work request.
    pub max_send_sge: u32,
    /// Largest number of scatter/gather elements of a receive work request.
    pub max_recv_sge: u32,
    /// Largest number of pages of a fast-registered memory region.
    pub max_fast_reg_pages: u32,
    /// Sizes of pages that a region can have, each a bit; 0 if the device does not tell.
    pub page_sizes: u64,
    /// Number of completion vectors; at least 1.
    pub num_comp_vectors: u32,
    /// Whether the device has memory management extensions (fast registration and
    /// invalidation), which the transport needs.
    pub mem_mgt_ext: bool,
    /// The immediates that the device can send.
    pub immediates: ImmSupport,
}

/// The pages in which the memory of a chunk is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPages {
    /// Bytes of a page, a power of two.
    pub size: u32,
    /// Number of pages.
    pub count: u32,
}

/// A capability that a device lacks. A log line prints it after the name of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingCapability {
    /// Memory management extensions.
    Registration,
    /// Immediates with RDMA writes.
    WriteImmediates,
    /// Immediates with messages.
    MessageImmediates,
    /// Regions that are large enough for any I/O size; the largest is of so many bytes.
    Region(u32),
    /// Regions for chunks of so many bytes.
    Chunk(u32),
    /// Enough work requests in a queue.
    WorkRequests {
        /// Number needed.
        needed: u32,
        /// Number that the device allows.
        max: u32,
    },
    /// Enough entries in a completion queue.
    Completions {
        /// Number needed.
        needed: u32,
        /// Number that the device allows.
        max: u32,
    },
}

impl fmt::Display for MissingCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration => f.write_str("lacks memory management extensions"),
            Self::WriteImmediates => {
                f.write_str("sends no immediates with RDMA writes, which the protocol needs")
            }
            Self::MessageImmediates => f.write_str(
                "sends no immediates with messages, which this client needs unless always_invalidate of the server is N",
            ),
            Self::Region(bytes) => write!(
                f,
                "registers at most {bytes} bytes at once, but I/O of {MIN_IO_SIZE} bytes must be possible"
            ),
            Self::Chunk(bytes) => write!(
                f,
                "registers less than {bytes} bytes at once; a lower max_chunk_size of the server needs less"
            ),
            Self::WorkRequests { needed, max } => write!(
                f,
                "allows {max} work requests in a queue, but {needed} are needed; a lower sess_queue_depth of the server needs fewer"
            ),
            Self::Completions { needed, max } => write!(
                f,
                "allows {max} completions in a queue, but {needed} are needed; a lower sess_queue_depth of the server needs fewer"
            ),
        }
    }
}

impl DeviceAttrs {
    /// Checks that a server can run on the device, with `sends` and `receives` outstanding on
    /// one connection. `sends_keys` is whether responses are messages with new keys.
    pub fn check_server(
        &self,
        sends: u32,
        receives: u32,
        sends_keys: bool,
    ) -> Result<(), MissingCapability> {
        if !self.mem_mgt_ext {
            return Err(MissingCapability::Registration);
        }
        if !self.immediates.has_writes() {
            return Err(MissingCapability::WriteImmediates);
        }
        if sends_keys && !self.immediates.has_messages() {
            return Err(MissingCapability::MessageImmediates);
        }
        // Draining needs one more.
        let needed = sends.max(receives).saturating_add(1);
        if needed > self.max_qp_wr {
            let max = self.max_qp_wr;
            return Err(MissingCapability::WorkRequests { needed, max });
        }
        self.check_cq(sends, receives)
    }

    /// Checks that a client can run on the device. A client makes its queues as long as the
    /// device allows.
    pub fn check_client(&self) -> Result<(), MissingCapability> {
        let bytes = registrable_bytes(self.max_fast_reg_pages);
        if !self.mem_mgt_ext {
            return Err(MissingCapability::Registration);
        }
        if !self.immediates.has_writes() {
            return Err(MissingCapability::WriteImmediates);
        }
        match bytes < MIN_IO_SIZE {
            true => Err(MissingCapability::Region(bytes)),
            false => Ok(()),
        }
    }

    /// Returns whether a client on the device can have eager requests: it has immediates, and space
    /// for a receive of each response, of which none is used twice.
    pub const fn sends_eager(&self) -> bool {
        matches!(self.immediates, ImmSupport::All) && self.max_qp_wr >= MAX_CLIENT_DEPTH + 3
    }

    /// Returns whether a server on the device can receive eager requests: with a segment for the
    /// header and one for the data.
    pub const fn receives_eager(&self) -> bool {
        matches!(self.immediates, ImmSupport::All) && self.max_recv_sge >= 2
    }

    /// Returns the pages in which a server registers a chunk of `size` bytes: as large ones as the
    /// device has, the last of which may be larger than what is left of the chunk.
    ///
    /// # Errors
    ///
    /// [`MissingCapability::Chunk`] if it has none of at most that size, or not as many of them in
    /// one region.
    pub fn chunk_pages(&self, size: u32) -> Result<ChunkPages, MissingCapability> {
        let known = |page: u32| self.page_sizes == 0 || self.page_sizes & u64::from(page) != 0;
        let sizes = REGISTRATION_UNIT.trailing_zeros()..u32::BITS;
        let sizes = sizes.filter_map(|shift| 1_u32.checked_shl(shift));
        let largest = sizes.filter(|page| *page <= size && known(*page)).last();

        largest
            .and_then(|page| {
                let rest = size.checked_sub(1)?.checked_div(page)?;
                Some(ChunkPages {
                    size: page,
                    count: rest.checked_add(1)?,
                })
            })
            .filter(|pages| pages.count <= self.max_fast_reg_pages)
            .ok_or(MissingCapability::Chunk(size))
    }

    /// Checks that one completion queue is large enough for `sends` and `receives`.
    pub fn check_cq(&self, sends: u32, receives: u32) -> Result<(), MissingCapability> {
        let needed = cq_entries(sends, receives);
        let max = self.max_cqe;
        match needed > max {
            true => Err(MissingCapability::Completions { needed, max }),
            false => Ok(()),
        }
    }
}

/// Returns the largest number of completions that a connection can have at once: one for each
/// work request, and one for each of the two that drain its queues.
pub fn cq_entries(sends: u32, receives: u32) -> u32 {
    sends.saturating_add(receives).saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: DeviceAttrs = DeviceAttrs {
        max_qp_wr: 101,
        max_cqe: 152,
        max_send_sge: 2,
        max_recv_sge: 2,
        max_fast_reg_pages: 2,
        page_sizes: 0,
        num_comp_vectors: 1,
        mem_mgt_ext: true,
        immediates: ImmSupport::All,
    };

    #[test]
    fn a_device_that_has_just_enough_is_accepted() {
        assert_eq!(ENOUGH.check_server(100, 50, true), Ok(()));
        assert_eq!(ENOUGH.check_client(), Ok(()));
    }

    #[test]
    fn eager_requests_take_two_segments() {
        assert!(ENOUGH.receives_eager());
        let one = DeviceAttrs {
            max_recv_sge: 1,
            ..ENOUGH
        };
        assert!(!one.receives_eager());
        // Responses with data are messages with immediates.
        let writes = DeviceAttrs {
            immediates: ImmSupport::Writes,
            max_qp_wr: 16384,
            ..ENOUGH
        };
        assert!(!writes.receives_eager() && !writes.sends_eager());
        let large = DeviceAttrs {
            immediates: ImmSupport::All,
            ..writes
        };
        assert!(large.sends_eager() && !ENOUGH.sends_eager());
    }

    /// Page sizes of drivers: soft-RoCE, irdma, bnxt_re, and one that does not tell.
    #[test]
    fn a_chunk_is_registered_in_the_largest_pages_of_the_device() {
        const K: u64 = 1 << 10;
        for (page_sizes, max, chunk, expected) in [
            (0xffff_f000, 512, 128 * K, Some((128 * K, 1))),
            ((4 * K) | (2 * K * K), 512, 128 * K, Some((4 * K, 32))),
            ((4 * K) | (2 * K * K), 512, 4 * K * K, Some((2 * K * K, 2))),
            (
                (4 * K) | (8 * K) | (64 * K),
                256,
                128 * K,
                Some((64 * K, 2)),
            ),
            (0, 2, 128 * K, Some((128 * K, 1))),
            (0xffff_f000, 512, 132 * K, Some((128 * K, 2))),
            ((4 * K) | (2 * K * K), 512, 132 * K, Some((4 * K, 33))),
            (4 * K, 31, 128 * K, None),
            (2 * K * K, 512, 128 * K, None),
        ] {
            let device = DeviceAttrs {
                page_sizes,
                max_fast_reg_pages: max,
                ..ENOUGH
            };
            let pages = device.chunk_pages(chunk as u32);
            let found = pages.map(|pages| (u64::from(pages.size), u64::from(pages.count)));
            assert_eq!(found.ok(), expected, "{page_sizes:#x}, chunks of {chunk}");
        }
    }

    #[test]
    fn a_missing_capability_is_named_with_a_remedy() {
        let bare = DeviceAttrs {
            mem_mgt_ext: false,
            ..ENOUGH
        };
        let small = DeviceAttrs {
            max_fast_reg_pages: 1,
            ..ENOUGH
        };
        let with = |immediates| DeviceAttrs {
            immediates,
            ..ENOUGH
        };
        let (writes, none) = (with(ImmSupport::Writes), with(ImmSupport::None));
        assert_eq!(writes.check_client(), Ok(()));
        assert_eq!(writes.check_server(1, 1, false), Ok(()));
        for (missing, words) in [
            (writes.check_server(1, 1, true), "unless always_invalidate"),
            (none.check_server(1, 1, false), "which the protocol needs"),
            (none.check_client(), "sends no immediates with RDMA writes"),
            (
                bare.check_server(1, 1, true),
                "lacks memory management extensions",
            ),
            (bare.check_client(), "lacks memory management extensions"),
            (small.check_client(), "registers at most 0 bytes at once"),
            (
                ENOUGH.check_server(101, 1, true),
                "allows 101 work requests",
            ),
            (ENOUGH.check_server(1, 101, true), "102 are needed"),
            (ENOUGH.check_server(100, 51, true), "allows 152 completions"),
            (ENOUGH.check_cq(151, 0), "153 are needed"),
            (ENOUGH.check_cq(u32::MAX, 9), "sess_queue_depth"),
        ] {
            let text = missing.map_err(|missing| missing.to_string());
            assert!(
                text.as_ref().is_err_and(|text| text.contains(words)),
                "{text:?}"
            );
        }
    }
}
