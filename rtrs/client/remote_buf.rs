// SPDX-License-Identifier: GPL-2.0-only

//! A chunk of the server's memory that requests are written to (C: `struct rtrs_rbuf`).

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering::Relaxed, //
};

use rnbd_proto::wire::rtrs::next_key;

/// Address and key of one chunk.
pub(super) struct RemoteBuf {
    addr: u64,
    /// The server may renew it with every response.
    rkey: AtomicU32,
    /// Whether the request in flight was written to it, so that its response moves the key on.
    written: AtomicBool,
}

impl RemoteBuf {
    pub(super) fn new(addr: u64, rkey: u32) -> Self {
        Self {
            addr,
            rkey: AtomicU32::new(rkey),
            written: AtomicBool::new(false),
        }
    }

    /// Returns the address of the chunk for the server's device.
    pub(super) fn addr(&self) -> u64 {
        self.addr
    }

    /// Returns the key for a work request. The submitter has seen the completion of the last
    /// request to this chunk, and the key was renewed before that.
    pub(super) fn rkey(&self) -> u32 {
        self.rkey.load(Relaxed)
    }

    /// Stores the key that the server sent.
    pub(super) fn set_rkey(&self, rkey: u32) {
        self.rkey.store(rkey, Relaxed);
    }

    /// Records whether the request that is about to be sent is written to the chunk.
    pub(super) fn set_written(&self, written: bool) {
        // Mostly it is so already, and other CPUs use chunks of the same cache line.
        if self.written.load(Relaxed) != written {
            self.written.store(written, Relaxed);
        }
    }

    /// Moves on to the next key by the rule that both sides know, after the response to a request
    /// that was written to the chunk. Only one response for a chunk is handled at a time.
    pub(super) fn step_rkey(&self) {
        if self.written.load(Relaxed) {
            self.set_rkey(next_key(self.rkey()));
        }
    }
}
