// SPDX-License-Identifier: GPL-2.0-only

//! Capabilities of an RDMA device, and whether they suffice.

use core::fmt;

use crate::limits::{
    registrable_bytes,
    MIN_IO_SIZE, //
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
    /// Largest number of pages of a fast-registered memory region.
    pub max_fast_reg_pages: u32,
    /// Number of completion vectors; at least 1.
    pub num_comp_vectors: u32,
    /// Whether the device has memory management extensions (fast registration and
    /// invalidation), which the transport needs.
    pub mem_mgt_ext: bool,
    /// Whether the device can send immediates. Without them the transport sends inline
    /// immediates, see [`crate::imm::INLINE_IMM_SIZE`].
    pub immediates: bool,
}

/// A capability that a device lacks. A log line prints it after the name of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingCapability {
    /// Memory management extensions.
    Registration,
    /// Regions that are large enough for any I/O size; the largest is of so many bytes.
    Region(u32),
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
            Self::Region(bytes) => write!(
                f,
                "registers at most {bytes} bytes at once, but I/O of {MIN_IO_SIZE} bytes must be possible"
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
    /// one connection.
    pub fn check_server(&self, sends: u32, receives: u32) -> Result<(), MissingCapability> {
        if !self.mem_mgt_ext {
            return Err(MissingCapability::Registration);
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
        match (self.mem_mgt_ext, bytes < MIN_IO_SIZE) {
            (false, _) => Err(MissingCapability::Registration),
            (true, true) => Err(MissingCapability::Region(bytes)),
            (true, false) => Ok(()),
        }
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
        max_fast_reg_pages: 2,
        num_comp_vectors: 1,
        mem_mgt_ext: true,
        immediates: true,
    };

    #[test]
    fn a_device_that_has_just_enough_is_accepted() {
        assert_eq!(ENOUGH.check_server(100, 50), Ok(()));
        assert_eq!(ENOUGH.check_client(), Ok(()));
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
        for (missing, words) in [
            (
                bare.check_server(1, 1),
                "lacks memory management extensions",
            ),
            (bare.check_client(), "lacks memory management extensions"),
            (small.check_client(), "registers at most 0 bytes at once"),
            (ENOUGH.check_server(101, 1), "allows 101 work requests"),
            (ENOUGH.check_server(1, 101), "102 are needed"),
            (ENOUGH.check_server(100, 51), "allows 152 completions"),
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
