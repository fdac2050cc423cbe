// SPDX-License-Identifier: GPL-2.0-only

//! Limits of atomic writes, which happen as a whole or not at all, also if power fails.

const SECTOR_SIZE: u32 = 512;

/// The limits of atomic writes, in bytes.
///
/// # Invariants
///
/// All are multiples of a sector. The units are powers of two; `unit_min <= unit_max <= max`. The
/// boundary, if there is one, is a power of two of at least `max`. The block layer warns about
/// anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtomicWrites {
    unit_min: u32,
    unit_max: u32,
    max: u32,
    boundary: u32,
}

impl AtomicWrites {
    /// Creates the limits of a device that can write units of `unit_min` to `unit_max` bytes
    /// atomically, and merges of them of up to `max` bytes, if they do not cross a multiple of
    /// `boundary` (0 for none). [`None`] if that makes no sense.
    pub fn new(unit_min: u32, unit_max: u32, max: u32, boundary: u32) -> Option<Self> {
        let units = [unit_min, unit_max]
            .into_iter()
            .all(|unit| unit.is_power_of_two() && unit >= SECTOR_SIZE);
        let ordered = unit_min <= unit_max && unit_max <= max && max % SECTOR_SIZE == 0;
        let bounded = boundary == 0 || (boundary.is_power_of_two() && boundary >= max);

        // INVARIANT: Just checked; the boundary is a power of two of at least `unit_min`.
        (units && ordered && bounded).then_some(Self {
            unit_min,
            unit_max,
            max,
            boundary,
        })
    }

    /// Returns the limits with no write of more than `bytes`. [`None`] if nothing is left.
    pub fn limited_to(self, bytes: u32) -> Option<Self> {
        let bytes = bytes / SECTOR_SIZE * SECTOR_SIZE;
        let unit = 1u32.checked_shl(bytes.checked_ilog2()?)?;

        Self::new(
            self.unit_min,
            self.unit_max.min(unit),
            self.max.min(bytes),
            self.boundary,
        )
    }

    /// Returns the smallest unit.
    pub const fn unit_min(&self) -> u32 {
        self.unit_min
    }

    /// Returns the largest unit.
    pub const fn unit_max(&self) -> u32 {
        self.unit_max
    }

    /// Returns the largest write that is merged from units.
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// Returns the boundary that no write may cross; 0 for none.
    pub const fn boundary(&self) -> u32 {
        self.boundary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_left_out() {
        assert!(AtomicWrites::new(512, 65536, 126_976, 0).is_some());
        assert!(AtomicWrites::new(512, 65536, 65536, 65536).is_some());
        for (unit_min, unit_max, max, boundary) in [
            (0, 0, 0, 0),
            (256, 4096, 4096, 0),
            (512, 3 * 512, 4096, 0),
            (4096, 512, 4096, 0),
            (512, 8192, 4096, 0),
            (512, 4096, 4097, 0),
            (512, 4096, 8192, 4096),
            (512, 4096, 4096, 3 * 4096),
        ] {
            let limits = AtomicWrites::new(unit_min, unit_max, max, boundary);
            assert_eq!(limits, None, "{unit_min} {unit_max} {max} {boundary}");
        }
    }

    #[test]
    fn a_smaller_transfer_leaves_smaller_units() {
        let limits = AtomicWrites::new(4096, 1 << 20, 1 << 20, 1 << 20).expect("limits");
        assert_eq!(
            limits.limited_to(126_976),
            AtomicWrites::new(4096, 65536, 126_976, 1 << 20)
        );
        assert_eq!(limits.limited_to(u32::MAX), Some(limits));
        assert_eq!(limits.limited_to(4095), None);
        assert_eq!(limits.limited_to(0), None);
    }
}
