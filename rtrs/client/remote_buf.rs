// SPDX-License-Identifier: GPL-2.0-only

//! A chunk of the server's memory that requests are written to (C: `struct rtrs_rbuf`).

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use rnbd_proto::wire::rtrs::next_key;

/// Address and key of one chunk.
pub(super) struct RemoteBuf {
    addr: u64,
    /// The server may renew it with every response.
    rkey: AtomicU32,
}

impl RemoteBuf {
    pub(super) fn new(addr: u64, rkey: u32) -> Self {
        Self {
            addr,
            rkey: AtomicU32::new(rkey),
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

    /// Moves on to the next key by the rule that both sides know. Only one response for a
    /// chunk is handled at a time.
    pub(super) fn step_rkey(&self) {
        self.set_rkey(next_key(self.rkey()));
    }
}
