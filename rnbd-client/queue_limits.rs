// SPDX-License-Identifier: GPL-2.0-only

//! The limits of a disk's queue, as the server's device and the transport have them.

#![deny(unsafe_code)]

use rnbd_proto::{
    limits::{
        MAX_SEGMENTS,
        REGISTRATION_UNIT, //
    },
    wire::rnbd::Description, //
};

use rtrs::client::Session;

use crate::mq::{
    Limits,
    LiveLimits, //
};

/// Alignment of data in memory, in bytes. Adapters take any address, but some are faster with
/// whole words.
const DATA_ALIGNMENT: u32 = 4;

/// Returns the limits of the queue, from those of the server's device and of the transport.
pub(crate) fn queue_limits(session: &Session, device: &Description) -> Limits {
    Limits {
        logical_block_size: device.geometry.logical_block_size(),
        physical_block_size: device.geometry.physical_block_size(),
        io_min: device.io_min,
        io_opt: device.io_opt,
        alignment_offset: device.alignment_offset,
        // The server splits a request that is too large for its device.
        max_io_size: session.max_io_size(),
        max_segments: session.max_segments().min(MAX_SEGMENTS as u16),
        virt_boundary: REGISTRATION_UNIT,
        dma_alignment: DATA_ALIGNMENT,
        live: LiveLimits::from(device),
        flags: device.flags,
    }
}
