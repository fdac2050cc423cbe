// SPDX-License-Identifier: GPL-2.0-only

//! Whether a client flushes a device, and how a server makes writes durable if it does not.
//!
//! A client whose disk has no volatile write cache sends neither FLUSH nor FUA: to it, a write
//! that has completed is durable. If the device at the server gets a write cache after the
//! client was told that it has none, the server keeps that promise itself:
//!
//! | request of a client that does not flush | the server |
//! |---|---|
//! | write, while the device has a write cache | adds FUA |
//! | write without FUA, if the device has a write cache when it completes | flushes, then responds |
//! | discard, secure erase, write zeroes, which cannot have FUA | flushes, then responds |
//!
//! The block layer replaces FUA by a flush where a device lacks it, or has lost it.
//!
//! A C client takes over the write cache at its first OPEN only, and a server cannot tell the
//! first one from a later one. What it can tell is that a request with FLUSH, FUA or PREFLUSH
//! comes from a disk with a write cache: the block layer of the client removes them otherwise.

use crate::{
    atomic::{
        AtomicU32,
        Ordering::Relaxed, //
    },
    wire::rnbd::{
        BlockOp,
        IoFlags, //
    }, //
};

/// Nothing shows that the client flushes.
const UNKNOWN: u32 = 0;
/// The client flushes.
const KNOWN: u32 = 1;
/// The client may have stopped to flush, or is about to. Requests from before that show nothing.
const STOPPED: u32 = 2;

/// What a server knows of the flushes of a client, for one open device.
#[derive(Debug)]
pub struct ClientFlushes(AtomicU32);

impl ClientFlushes {
    /// Creates the state of a device whose client is, or is not, known to flush it.
    pub const fn new(known: bool) -> Self {
        Self(AtomicU32::new(if known { KNOWN } else { UNKNOWN }))
    }

    /// Returns whether the client is known to flush the device.
    #[inline]
    pub fn known(&self) -> bool {
        self.0.load(Relaxed) == KNOWN
    }

    /// Records that the disk of the client has a write cache.
    pub fn set_known(&self) {
        self.0.store(KNOWN, Relaxed);
    }

    /// Records that a client which follows descriptions is told that there is no write cache.
    /// To be called before it can be told.
    pub fn set_stopped(&self) {
        self.0.store(STOPPED, Relaxed);
    }

    /// Records a request of the client, which may show that the client flushes.
    #[inline]
    pub fn observe(&self, op: BlockOp, flags: IoFlags) {
        let shows = op == BlockOp::Flush
            || flags.contains(IoFlags::FUA)
            || flags.contains(IoFlags::PREFLUSH);

        // Seldom, as the cache line is shared by all CPUs.
        if shows && self.0.load(Relaxed) == UNKNOWN {
            // Fails if the client is told of a change at the moment.
            let _ = self.0.compare_exchange(UNKNOWN, KNOWN, Relaxed, Relaxed);
        }
    }

    /// Returns the flags to submit a request with. The device has a volatile `write_cache` at
    /// present, or not.
    #[inline]
    pub fn submit_flags(
        &self,
        op: BlockOp,
        flags: IoFlags,
        write_cache: impl FnOnce() -> bool,
    ) -> IoFlags {
        match op == BlockOp::Write && !self.known() && write_cache() {
            true => flags | IoFlags::FUA,
            false => flags,
        }
    }

    /// Returns whether the device must be flushed before the client gets the response to a
    /// request that was submitted with `flags` and has completed.
    #[inline]
    pub fn must_flush(
        &self,
        op: BlockOp,
        flags: IoFlags,
        write_cache: impl FnOnce() -> bool,
    ) -> bool {
        op.modifies() && !flags.contains(IoFlags::FUA) && !self.known() && write_cache()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [BlockOp; 3] = [BlockOp::Discard, BlockOp::SecureErase, BlockOp::WriteZeroes];
    const NONE: IoFlags = IoFlags::NONE;
    const FUA: IoFlags = IoFlags::FUA;

    #[test]
    fn a_device_without_a_cache_gets_requests_as_they_are() {
        for known in [false, true] {
            let client = ClientFlushes::new(known);
            for op in OTHERS.into_iter().chain([BlockOp::Write]) {
                assert_eq!(
                    client.submit_flags(op, IoFlags::SYNC, || false),
                    IoFlags::SYNC
                );
                assert!(!client.must_flush(op, NONE, || false));
            }
        }
    }

    #[test]
    fn a_client_that_flushes_is_left_alone() {
        let client = ClientFlushes::new(true);
        for op in OTHERS.into_iter().chain([BlockOp::Write]) {
            assert_eq!(client.submit_flags(op, NONE, || true), NONE);
            assert!(!client.must_flush(op, NONE, || true));
        }
    }

    #[test]
    fn all_that_another_client_changes_is_made_durable() {
        let client = ClientFlushes::new(false);
        let flags = client.submit_flags(BlockOp::Write, IoFlags::SYNC, || true);
        assert_eq!(flags, IoFlags::SYNC | FUA);
        assert!(!client.must_flush(BlockOp::Write, flags, || true));
        // The block layer warns of FUA with any of these.
        for op in OTHERS {
            assert_eq!(client.submit_flags(op, NONE, || true), NONE, "{op:?}");
            assert!(client.must_flush(op, NONE, || true), "{op:?}");
        }
        assert_eq!(client.submit_flags(BlockOp::Read, NONE, || true), NONE);
        assert!(!client.must_flush(BlockOp::Read, NONE, || true));
        assert!(!client.must_flush(BlockOp::Flush, NONE, || true));
    }

    #[test]
    fn a_write_in_flight_at_the_switch_is_flushed() {
        let client = ClientFlushes::new(false);
        let flags = client.submit_flags(BlockOp::Write, NONE, || false);
        assert_eq!(flags, NONE);
        assert!(client.must_flush(BlockOp::Write, flags, || true));
    }

    #[test]
    fn a_client_is_known_to_flush_by_what_it_sends_or_tells() {
        for (op, flags, shows) in [
            (BlockOp::Read, IoFlags::SYNC, false),
            (BlockOp::Write, IoFlags::SYNC, false),
            (BlockOp::WriteZeroes, IoFlags::NOUNMAP, false),
            (BlockOp::Flush, NONE, true),
            (BlockOp::Write, FUA, true),
            (BlockOp::Write, IoFlags::PREFLUSH, true),
        ] {
            let client = ClientFlushes::new(false);
            client.observe(op, flags);
            assert_eq!(client.known(), shows, "{op:?} {flags:?}");
            let later = client.submit_flags(BlockOp::Write, NONE, || true);
            assert_eq!(later == NONE, shows);
        }
        let client = ClientFlushes::new(false);
        client.set_known();
        assert!(client.known());
        client.set_stopped();
        assert_eq!(client.submit_flags(BlockOp::Write, NONE, || true), FUA);
        client.observe(BlockOp::Flush, NONE);
        assert!(!client.known(), "a flush that was sent before");
        client.set_known();
        assert!(client.known());
    }
}
