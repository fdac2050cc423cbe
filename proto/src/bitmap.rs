// SPDX-License-Identifier: GPL-2.0-only

//! Ids of a queue, free or taken, without a lock.
//!
//! A client hands out permits for requests from one. A server marks the requests
//! in flight in another, and so finds a client that uses an id twice.

use core::ops::Deref;

use crate::atomic::AtomicUsize;
use crate::atomic::Ordering;
use crate::limits::BufId;
use crate::limits::QueueDepth;

const WORD_BITS: usize = usize::BITS as usize;

/// Words that a map for a queue of this depth takes.
pub const fn words(depth: QueueDepth) -> usize {
    (depth.get() as usize).div_ceil(WORD_BITS)
}

/// A map of the ids of one queue, on words provided by the caller.
///
/// # Invariants
///
/// There are at least [`words`] words. Bits of ids beyond the depth are 0.
#[derive(Debug)]
pub struct IdMap<W> {
    depth: QueueDepth,
    words: W,
}

impl<W: Deref<Target = [AtomicUsize]>> IdMap<W> {
    /// A map with all ids free, or [`None`] if there are too few words.
    pub fn new(depth: QueueDepth, storage: W) -> Option<Self> {
        if storage.len() < words(depth) {
            return None;
        }
        for word in storage.iter() {
            word.store(0, Ordering::Relaxed);
        }
        // INVARIANT: Both just seen to.
        Some(Self {
            depth,
            words: storage,
        })
    }

    /// Takes any free id. Returns [`None`] if all are taken.
    ///
    /// Callers on different CPUs give different `hint`s (any number will do), so
    /// that they start to look in different places.
    #[inline]
    pub fn take(&self, hint: usize) -> Option<BufId> {
        let words = words(self.depth);
        let start = hint.checked_rem(words)?;
        (start..words)
            .chain(0..start)
            .find_map(|index| self.take_in(index))
    }

    /// Takes a free id of one word.
    fn take_in(&self, index: usize) -> Option<BufId> {
        let word = self.words.get(index)?;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let bit = seen.trailing_ones();
            let raw = index.checked_mul(WORD_BITS)?.checked_add(bit as usize)?;
            let mask = 1usize.checked_shl(bit)?;
            let id = self.depth.buffer(u32::try_from(raw).ok()?)?;
            // Acquire: pairs with the release in `put`, so what the last owner of
            // the id did is over.
            match word.compare_exchange_weak(
                seen,
                seen | mask,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(id),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes this id. Returns `false` if it was taken already.
    #[inline]
    pub fn claim(&self, id: BufId) -> bool {
        self.bit(id)
            .is_some_and(|(word, mask)| word.fetch_or(mask, Ordering::Acquire) & mask == 0)
    }

    /// Frees this id. Returns `false` if it was free already.
    #[inline]
    pub fn put(&self, id: BufId) -> bool {
        self.bit(id)
            .is_some_and(|(word, mask)| word.fetch_and(!mask, Ordering::Release) & mask != 0)
    }

    /// Whether this id is taken.
    pub fn is_taken(&self, id: BufId) -> bool {
        self.bit(id)
            .is_some_and(|(word, mask)| word.load(Ordering::Acquire) & mask != 0)
    }

    /// Number of ids that are taken; a guess while others take and put.
    pub fn taken(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_ones() as usize)
            .sum()
    }

    fn bit(&self, id: BufId) -> Option<(&AtomicUsize, usize)> {
        // An id of a deeper queue could lie beyond the map.
        let id = self.depth.buffer(id.get().into())?;
        let word = self.words.get(id.index() / WORD_BITS)?;
        Some((word, 1 << (id.index() % WORD_BITS)))
    }
}
