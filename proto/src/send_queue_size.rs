// SPDX-License-Identifier: GPL-2.0-only

//! Sizes of a send queue that a device may have space for.
//!
//! A device tells how many work requests a queue can have, and how many segments a work request,
//! but not which of both at once: an entry of a queue is longer, the more segments it names. With
//! the devices of mlx5, for example, the number of work requests is for those of one segment. So
//! the owner of a queue asks for what it would like to have, and for less if the device refuses.

/// The size of a send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendQueueSize {
    /// Work requests that can be outstanding.
    pub wrs: u32,
    /// Segments of one work request.
    pub sges: u32,
}

impl SendQueueSize {
    /// Returns the size to ask for if the device has refused this one, or `None` if it is `least`
    /// already.
    ///
    /// Half of the segments first, as long as that is possible: data in more of them are
    /// registered. A request that finds no space in a queue, by contrast, has to wait.
    pub fn smaller(self, least: Self) -> Option<Self> {
        let half = |value: u32| value / 2;
        if self.sges > least.sges {
            let sges = half(self.sges).max(least.sges);
            Some(Self { sges, ..self })
        } else if self.wrs > least.wrs {
            let wrs = half(self.wrs).max(least.wrs);
            Some(Self { wrs, ..self })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: SendQueueSize = SendQueueSize { wrs: 64, sges: 2 };

    /// Asks a device for a queue, as its owner does.
    fn fit(wanted: SendQueueSize, fits: impl Fn(SendQueueSize) -> bool) -> Option<SendQueueSize> {
        let mut sizes = core::iter::successors(Some(wanted), |size| size.smaller(LEAST));
        sizes.find(|size| fits(*size))
    }

    /// The size of an entry: 48 bytes, and 16 for each segment.
    fn device(bytes: u32) -> impl Fn(SendQueueSize) -> bool {
        move |size| size.wrs * (48 + 16 * size.sges) <= bytes
    }

    #[test]
    fn a_queue_has_the_size_that_was_asked_for_if_that_fits() {
        let wanted = SendQueueSize {
            wrs: 1536,
            sges: 17,
        };
        assert_eq!(fit(wanted, device(1536 * 320)), Some(wanted));
    }

    #[test]
    fn segments_are_given_up_before_work_requests() {
        let wanted = SendQueueSize {
            wrs: 3072,
            sges: 17,
        };
        for (bytes, wrs, sges) in [
            (3072 * 176, 3072, 8),
            (3072 * 80, 3072, 2),
            (3072 * 79, 1536, 2),
            (64 * 80, 64, 2),
        ] {
            let found = fit(wanted, device(bytes));
            assert_eq!(found, Some(SendQueueSize { wrs, sges }), "{bytes} bytes");
        }
    }

    #[test]
    fn a_device_that_refuses_the_least_is_not_asked_any_more() {
        let wanted = SendQueueSize {
            wrs: u32::MAX,
            sges: u32::MAX,
        };
        assert_eq!(fit(wanted, |_| false), None);
        assert_eq!(LEAST.smaller(LEAST), None);
        let few = SendQueueSize { wrs: 12, sges: 1 };
        assert_eq!(few.smaller(LEAST), None, "less than the least");
    }
}
