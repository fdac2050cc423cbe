// SPDX-License-Identifier: GPL-2.0-only

//! Size of the send queue of a server's connection, and when its responses are signaled.

#[cfg(doc)]
use crate::sq_credits::SqCredits;

/// Size of the send queue of a server's connection, which may carry the responses to all
/// requests of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCredits {
    /// Work requests that the queue holds.
    pub capacity: u32,
    /// Below so many free credits, responses are signaled, see [`SqCredits::is_below`].
    pub low_watermark: u32,
}

impl ResponseCredits {
    /// Largest number of work requests for one request: invalidation of the server's key, then
    /// data, invalidation of the client's key, registration and response.
    const WITH_NEW_RKEY: u32 = 5;

    /// The same without a key of the server.
    const WITHOUT_NEW_RKEY: u32 = 3;

    /// Returns the size for a session of `depth` requests, with one more work request.
    ///
    /// With `new_rkey`, the invalidation after the last response of a chunk must complete before
    /// the next one is posted, so at most the credits of one request are deferred for each chunk.
    ///
    /// Without it there may be no signaled work request at all. Once the free credits are below
    /// the low watermark responses are signaled, and until the first of them completes there must
    /// be credits for a response to each request. The watermark is somewhat higher, as several
    /// senders may check it at the same moment.
    pub const fn new(depth: u32, new_rkey: bool) -> Self {
        let capacity = depth.saturating_mul(Self::WITH_NEW_RKEY).saturating_add(1);
        let low_watermark = match new_rkey {
            true => capacity / 2,
            false => depth
                .saturating_mul(Self::WITHOUT_NEW_RKEY)
                .saturating_add(depth / 2)
                .saturating_add(Self::WITHOUT_NEW_RKEY),
        };
        Self {
            capacity,
            low_watermark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sq_credits::SqCredits;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// There are always credits for a response, even if the queue is slower than the server:
        /// with keys of the server, whose invalidations are signaled, and without.
        #[test]
        fn responses_always_find_credits(
            depth in 1..40_u32,
            new_rkey: bool,
            steps in prop::collection::vec((0..40_usize, 1..=3_u32, any::<bool>()), 1..400),
        ) {
            let size = ResponseCredits::new(depth, new_rkey);
            let credits = SqCredits::new(size.capacity);
            let mut queue = VecDeque::new();
            // Chunks whose last work request is signaled and has not completed.
            let mut busy = vec![false; depth as usize];
            let mut responded = vec![false; depth as usize];
            for (chunk, wrs, completes) in steps {
                let chunk = chunk % busy.len();
                if !busy[chunk] {
                    // The chunk's own key is invalidated first, and its completion awaited.
                    if new_rkey && responded[chunk] {
                        busy[chunk] = true;
                        responded[chunk] = false;
                        prop_assert!(credits.reserve(1), "no credit for an invalidation");
                        queue.push_back((chunk, 1 + credits.take_deferred()));
                    } else {
                        let wrs = wrs + u32::from(new_rkey);
                        busy[chunk] = credits.is_below(size.low_watermark);
                        responded[chunk] = true;
                        prop_assert!(credits.reserve(wrs), "no credits for a response");
                        match busy[chunk] {
                            true => queue.push_back((chunk, wrs + credits.take_deferred())),
                            false => credits.defer(wrs),
                        }
                    }
                }
                if let (true, Some((chunk, wrs))) = (completes, queue.front().copied()) {
                    queue.pop_front();
                    busy[chunk] = false;
                    credits.release(wrs);
                }
            }
        }
    }
}
