// SPDX-License-Identifier: GPL-2.0-only

//! Which immediates an RDMA device can send.
//!
//! iWARP had no immediates at first: RFC 7306 added them. Devices do not tell which of them they
//! have, and refuse a work request that they do not know. So this is what the drivers of Linux 7.3
//! do (`ib_post_send` of each).

/// The drivers whose devices differ from the rule that all immediates can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmDriver {
    /// Soft iWARP.
    Siw,
    /// Intel, for RoCE or iWARP.
    Irdma,
    /// Chelsio. Devices with old firmware have none, which only the driver knows.
    Cxgb4,
    /// Marvell, for RoCE or iWARP.
    Qedr,
    /// Any other.
    Other,
}

/// The immediates that a device can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmSupport {
    /// Those of RDMA writes and those of messages.
    All,
    /// Those of RDMA writes.
    Writes,
    /// None, but the device takes [inline immediates](crate::imm::INLINE_IMM_SIZE).
    Inline,
    /// None.
    None,
}

impl ImmSupport {
    /// Returns those of a device of `driver`, which is for `iwarp` or another fabric.
    pub const fn of(driver: ImmDriver, iwarp: bool) -> Self {
        match (driver, iwarp) {
            (ImmDriver::Siw, _) => Self::Inline,
            (ImmDriver::Irdma, true) | (ImmDriver::Cxgb4, _) => Self::Writes,
            (ImmDriver::Qedr, true) => Self::None,
            (ImmDriver::Irdma | ImmDriver::Qedr, false) | (ImmDriver::Other, _) => Self::All,
        }
    }

    /// Returns whether immediates must be inline.
    pub const fn is_inline(self) -> bool {
        matches!(self, Self::Inline)
    }

    /// Returns whether an immediate can travel with an RDMA write, or inline in place of that.
    pub const fn has_writes(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Returns whether an immediate can travel with a message, or inline in place of that.
    pub const fn has_messages(self) -> bool {
        matches!(self, Self::All | Self::Inline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_one_driver_differ_by_their_fabric() {
        for (driver, roce, iwarp) in [
            (ImmDriver::Irdma, ImmSupport::All, ImmSupport::Writes),
            (ImmDriver::Qedr, ImmSupport::All, ImmSupport::None),
            (ImmDriver::Other, ImmSupport::All, ImmSupport::All),
        ] {
            assert_eq!(ImmSupport::of(driver, false), roce, "{driver:?}");
            assert_eq!(ImmSupport::of(driver, true), iwarp, "{driver:?}");
        }
        assert_eq!(ImmSupport::of(ImmDriver::Siw, true), ImmSupport::Inline);
        assert_eq!(ImmSupport::of(ImmDriver::Cxgb4, true), ImmSupport::Writes);
    }

    #[test]
    fn inline_immediates_stand_for_both() {
        for (support, writes, messages) in [
            (ImmSupport::All, true, true),
            (ImmSupport::Writes, true, false),
            (ImmSupport::Inline, true, true),
            (ImmSupport::None, false, false),
        ] {
            assert_eq!(support.has_writes(), writes, "{support:?}");
            assert_eq!(support.has_messages(), messages, "{support:?}");
            assert_eq!(support.is_inline(), support == ImmSupport::Inline);
        }
    }
}
