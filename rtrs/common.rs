// SPDX-License-Identifier: GPL-2.0-only

//! Parts of a path that are the same on both sides of the transport.

#![deny(unsafe_code)]

pub(crate) mod heartbeat;
pub(crate) mod key_file;
pub(crate) mod message;
pub(crate) mod params;
pub(crate) mod recv_buf;
pub(crate) mod transfer_counters;
