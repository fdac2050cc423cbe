// SPDX-License-Identifier: GPL-2.0-only

//! What the block driver asks for: one request, whichever path carries it.

use crate::kernel_ext::trace;
use crate::kernel_ext::trace::Failed;
use crate::kernel_ext::trace::Side;
use crate::rdma::payload::PayloadBox;
use kernel::fmt;
use kernel::prelude::*;

/// Which way the data of a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server, or no data at all where the length is 0.
    Read,
    /// To the server, or a message without data.
    Write,
}

/// By which connection of a path a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// That of the CPU that sends it. The end comes by itself.
    Cpu,
    /// That of a polled queue, by number from 0. The end comes to who calls
    /// [`super::Session::poll`] for it.
    Polled(u32),
}

/// The right to have one request in flight: a message id below
/// [`super::Session::io_depth`] that nobody else uses at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(u32);

impl Permit {
    /// For I/O: a number that is unique among the requests in flight.
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// Its place among all.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A request that was not answered yet.
///
/// It is at one place at a time: on its way through `submit`, in flight on one
/// path, or parked. The permit stays the same over all of them, by which the
/// server knows a request that it was sent before over another path.
pub(super) struct IoRequest {
    pub(super) dir: Direction,
    pub(super) permit: Permit,
    pub(super) queue: Queue,
    /// Bytes of data.
    pub(super) len: u32,
    /// For the session itself: neither parked nor sent again.
    pub(super) control: bool,
    /// Was in flight on a path that was lost.
    pub(super) moved: bool,
    pub(super) io: PayloadBox,
}

impl IoRequest {
    /// It is going to end with an error, at a path or a session.
    pub(super) fn trace_error(&self, place: &dyn fmt::Display, error: Error) {
        let failed = Failed {
            place,
            op: match self.dir {
                Direction::Read => c"read",
                Direction::Write => c"write",
            },
            id: self.permit.0,
            bytes: self.len,
            error,
        };
        trace::io_error(Side::Client, &failed);
    }
}
