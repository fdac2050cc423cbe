// SPDX-License-Identifier: GPL-2.0-only

//! One request of the block driver, whichever path carries it (C: `struct rtrs_clt_io_req`).

use kernel::{
    fmt,
    prelude::*, //
};

use crate::{
    kernel_ext::trace::{
        self,
        Failed,
        Side, //
    },
    rdma::payload::PayloadBox, //
};

/// Direction of the data of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server, or no data at all if the length is 0.
    Read,
    /// To the server, or a message without data.
    Write,
}

/// The connection of a path that carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// That of the submitting CPU. An interrupt completes the request.
    Cpu,
    /// That of a polled queue, by number from 0. [`super::Session::poll`] completes the
    /// request.
    Polled(u32),
}

/// The right to have one request in flight: a message id below
/// [`super::Session::io_depth`] that no other request uses at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(u32);

impl Permit {
    /// Makes the permit of a number that is unique among the requests in flight.
    pub fn new(id: u32) -> Self {
        Self(id)
    }

    /// Returns the index into tables by message id.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A request that the server has not responded to yet.
///
/// It is in one place at a time: being submitted, in flight on one path, or in the requeue
/// list. It keeps its permit in all of them: by that the server recognises a request that it
/// was sent before over another path.
pub(super) struct IoRequest {
    pub(super) dir: Direction,
    pub(super) permit: Permit,
    pub(super) queue: Queue,
    /// Bytes of data.
    pub(super) len: u32,
    /// A message of the session itself: neither queued nor sent again.
    pub(super) control: bool,
    /// In place of a request that was withdrawn: not sent again.
    pub(super) stand_in: bool,
    /// How many paths were lost with it in flight.
    pub(super) lost_paths: u8,
    /// Whether paths were compared by their requests in flight when one was chosen for it, which it
    /// then counts among.
    pub(super) compared: bool,
    pub(super) payload: PayloadBox,
}

/// Result of sending a request, which comes back on failure.
pub(super) type SubmitResult = core::result::Result<(), (IoRequest, Error)>;

impl IoRequest {
    /// Traces that the request is about to fail, at a path or a session.
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
