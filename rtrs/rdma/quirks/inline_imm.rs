// SPDX-License-Identifier: GPL-2.0-only

//! Immediates inside messages, for devices that cannot send immediates.
//!
//! Between such devices ([`ImmSupport::Inline`]: soft iWARP) an immediate travels as the first
//! [`INLINE_IMM_SIZE`] bytes of a message of its own, in the byte order of the wire. A write with an
//! immediate becomes a write and such a message; as a queue pair keeps its order, the message
//! arrives after the data.
//!
//! The message is an inline send (`IB_SEND_INLINE`): the device copies it while it is
//! posted, so it may lie on the stack. Both peers agree on this while they connect.
//!
//! Once siw has immediates, this file, [`ImmSupport::Inline`] and
//! [`QpConfig::inline_imm`](crate::rdma::qp::QpConfig::inline_imm) can go.

use core::ffi::c_int;

use rnbd_proto::{
    imm::INLINE_IMM_SIZE,
    imm_support::{
        ImmDriver,
        ImmSupport, //
    }, //
};

use crate::{
    bindings,
    rdma::sge::Sge, //
};

/// Flags of a send whose data the device copies while it is posted.
///
/// The segments of such a request are CPU addresses. Those of mapped memory are CPU addresses
/// only for devices in software, so no other device may be sent this ([`ImmSupport`]).
pub(in crate::rdma) const INLINE: c_int = bindings::ib_send_flags_IB_SEND_INLINE as c_int;

/// Returns the immediates of a device of `driver`, which is for `iwarp` or another fabric.
pub(in crate::rdma) fn imm_support(driver: bindings::rdma_driver_id, iwarp: bool) -> ImmSupport {
    let driver = match driver {
        bindings::rdma_driver_id_RDMA_DRIVER_SIW => ImmDriver::Siw,
        bindings::rdma_driver_id_RDMA_DRIVER_IRDMA => ImmDriver::Irdma,
        bindings::rdma_driver_id_RDMA_DRIVER_CXGB4 => ImmDriver::Cxgb4,
        bindings::rdma_driver_id_RDMA_DRIVER_QEDR => ImmDriver::Qedr,
        _ => ImmDriver::Other,
    };
    ImmSupport::of(driver, iwarp)
}

/// Returns the segment of an inline send that is the immediate `imm`.
pub(in crate::rdma) fn segment<'a>(imm: &[u8; INLINE_IMM_SIZE]) -> Sge<'a> {
    Sge::of_segment(
        imm.as_ptr().expose_provenance() as u64,
        INLINE_IMM_SIZE as u32,
        0,
    )
}
