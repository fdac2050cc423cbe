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

    /// Largest number of work requests for one request that still need credits when others are
    /// deferred, where requests are eager: invalidation, registration, data with response.
    const WITH_EAGER: u32 = 3;

    /// Returns the size for a session of `depth` requests, with one more work request.
    ///
    /// With `new_rkey`, the invalidation after the last response of a chunk must complete before
    /// the next one is posted, so at most the credits of one request are deferred for each chunk.
    ///
    /// Without it there may be no signaled work request at all. Once the free credits are below
    /// the low watermark responses are signaled, and until the first of them completes there must
    /// be credits for a response to each request. The watermark is somewhat higher, as several
    /// senders may check it at the same moment.
    /// The same holds with `eager` requests, which take no invalidation, and are mixed with others.
    pub const fn new(depth: u32, new_rkey: bool, eager: bool) -> Self {
        let capacity = depth.saturating_mul(Self::WITH_NEW_RKEY).saturating_add(1);
        let low_watermark = match (new_rkey, eager) {
            (true, false) => capacity / 2,
            (true, true) => Self::watermark(depth, Self::WITH_EAGER),
            (false, _) => Self::watermark(depth, Self::WITHOUT_NEW_RKEY),
        };
        Self {
            capacity,
            low_watermark,
        }
    }

    /// Returns the watermark that leaves credits for `wrs` work requests of each request.
    const fn watermark(depth: u32, wrs: u32) -> u32 {
        depth
            .saturating_mul(wrs)
            .saturating_add(depth / 2)
            .saturating_add(wrs)
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
            let size = ResponseCredits::new(depth, new_rkey, false);
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

        /// The same where some requests are eager: they are not invalidated, and their responses
        /// are one work request. All chunks may turn to the other shape at once.
        #[test]
        fn responses_to_eager_requests_leave_credits_for_others(
            depth in 1..40_u32,
            steps in prop::collection::vec((0..40_usize, 0..10_u8, any::<bool>()), 1..600),
        ) {
            let size = ResponseCredits::new(depth, true, true);
            let credits = SqCredits::new(size.capacity);
            let mut queue = VecDeque::new();
            // A chunk whose invalidation or signaled response has not completed.
            let mut busy = vec![false; depth as usize];
            // A chunk whose request was invalidated, and is to be responded to.
            let mut invalidated = vec![false; depth as usize];
            let respond = |busy: &mut bool, chunk, wrs, queue: &mut VecDeque<_>| {
                *busy = credits.is_below(size.low_watermark);
                prop_assert!(credits.reserve(wrs), "no credits for a response");
                match *busy {
                    true => queue.push_back((chunk, wrs + credits.take_deferred())),
                    false => credits.defer(wrs),
                }
                Ok(())
            };
            for (index, (chunk, shape, completes)) in steps.into_iter().enumerate() {
                let chunk = chunk % busy.len();
                // Eager at first, then in chunks: the worst mixture.
                let eager = shape < if index < 300 { 9 } else { 1 };
                match (busy[chunk], invalidated[chunk], eager) {
                    (true, _, _) => {}
                    (false, true, _) => {
                        invalidated[chunk] = false;
                        respond(&mut busy[chunk], chunk, 2, &mut queue)?;
                    }
                    (false, false, true) => respond(&mut busy[chunk], chunk, 1, &mut queue)?,
                    (false, false, false) => {
                        busy[chunk] = true;
                        invalidated[chunk] = true;
                        prop_assert!(credits.reserve(1), "no credit for an invalidation");
                        queue.push_back((chunk, 1 + credits.take_deferred()));
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
