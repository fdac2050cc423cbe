// SPDX-License-Identifier: GPL-2.0-only

//! Shares of the disks of a session in its message ids.
//!
//! A disk whose target hangs keeps what it has in flight, perhaps for ever. It must leave room for
//! the other disks of its session:
//!
//! - Not all message ids are tags of the block layer. The others are spare: a request that is
//!   withdrawn leaves its message id behind and gives its tag back, with a spare id instead.
//! - The block layer divides the tags evenly among the queues that are active. One queue is active
//!   always, without requests. So a disk that is alone gets half of the tags, or a few more, as
//!   tasks that look for a tag at the same time do not count each other. There is a spare id for
//!   each of its requests.

/// Fewest message ids that are worth dividing.
const FEWEST: u32 = 10;
/// Fewest tags that the block layer gives each queue.
const FEWEST_TAGS: u32 = 4;

/// The division of the message ids for I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagShare {
    /// Tags, for the requests of all disks.
    pub tags: u32,
    /// Spare message ids.
    pub spares: u32,
}

impl TagShare {
    /// Divides `ids` message ids. A few are all tags.
    pub const fn of(ids: u32) -> Self {
        let spares = if ids < FEWEST { 0 } else { ids - ids / 5 * 3 };
        Self {
            tags: ids - spares,
            spares,
        }
    }

    /// Returns the number of requests that each of `active` disks may have in flight, as
    /// `hctx_may_queue` of the block layer.
    pub const fn of_disk(self, active: u32) -> u32 {
        let share = self.tags.div_ceil(active.saturating_add(1));
        let share = if share < FEWEST_TAGS {
            FEWEST_TAGS
        } else {
            share
        };
        if share < self.tags {
            share
        } else {
            self.tags
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        for ids in 0..2000 {
            let share = TagShare::of(ids);
            assert_eq!(share.tags + share.spares, ids);
        }
        assert_eq!(TagShare::of(9).tags, 9);
        assert_eq!(
            TagShare::of(511),
            TagShare {
                tags: 306,
                spares: 205
            }
        );
    }

    #[test]
    fn a_disk_that_hangs_leaves_room_for_the_others() {
        for ids in FEWEST..2000 {
            let share = TagShare::of(ids);
            let hung = share.of_disk(1);
            let left = share.tags - hung;
            assert!(left > 0, "{ids}");
            // Each of two disks could have a third.
            assert!(
                left >= share.of_disk(2).min(share.tags - FEWEST_TAGS),
                "{ids}"
            );
        }
    }

    #[test]
    fn all_requests_of_a_disk_that_hangs_can_be_withdrawn() {
        for ids in FEWEST..2000 {
            let share = TagShare::of(ids);
            assert!(share.of_disk(1) <= share.spares, "{ids}");
            // With some to spare for tasks that do not count each other.
            if ids > 100 {
                assert!(share.of_disk(1) + ids / 12 < share.spares, "{ids}");
            }
        }
    }

    #[test]
    fn many_disks_get_a_few_tags_each() {
        assert_eq!(TagShare::of(511).of_disk(1), 153);
        assert_eq!(TagShare::of(511).of_disk(1000), 4);
        assert_eq!(TagShare::of(511).of_disk(u32::MAX), 4);
    }
}
