// SPDX-License-Identifier: GPL-2.0-only

//! Immediates inside messages, for devices that cannot send immediates.
//!
//! iWARP had no immediates at first (RFC 7306 added them), and devices do not say whether
//! they have them. Of the kernel's iWARP drivers, only siw has none. Between such devices an
//! immediate travels as the first [`INLINE_IMM_SIZE`] bytes of a message of its own, in the
//! byte order of the wire. A write with an immediate becomes a write and such a message; as a
//! queue pair keeps its order, the message arrives after the data.
//!
//! The message is an inline send (`IB_SEND_INLINE`): the device copies it while it is
//! posted, so it may lie on the stack. Both peers agree on this while they connect.
//!
//! Once siw has immediates, take it out of [`DRIVERS`]; with no driver left, this file and
//! [`QpConfig::inline_imm`](crate::rdma::qp::QpConfig::inline_imm) can go.

use core::ffi::c_int;

use rnbd_proto::imm::INLINE_IMM_SIZE;

use crate::bindings;

/// Drivers of devices that cannot send immediates.
const DRIVERS: &[bindings::rdma_driver_id] = &[bindings::rdma_driver_id_RDMA_DRIVER_SIW];

/// Flags of a send whose data the device copies while it is posted.
///
/// The segments of such a request are CPU addresses. Those of mapped memory are CPU addresses
/// only for devices in software, so no other device may be sent this
/// ([`rnbd_proto::device_caps::DeviceAttrs::immediates`]).
const INLINE: c_int = bindings::ib_send_flags_IB_SEND_INLINE as c_int;

/// Whether devices of this driver can send immediates.
pub(in crate::rdma) fn has_immediates(driver: bindings::rdma_driver_id) -> bool {
    !DRIVERS.contains(&driver)
}

/// Returns the work request that sends the `count` segments from `first` on, the first of which
/// is the immediate. It is numbered as in [`SendChain`](crate::rdma::wr::SendChain).
pub(in crate::rdma) fn send(first: usize, count: c_int) -> bindings::ib_send_wr {
    bindings::ib_send_wr {
        sg_list: core::ptr::without_provenance_mut(first),
        num_sge: count,
        opcode: bindings::ib_wr_opcode_IB_WR_SEND,
        send_flags: INLINE,
        ..Default::default()
    }
}

/// Writes the address of the immediate to the first segment of an inline send.
///
/// To be called when the chain, which `imm` is a part of, has its final address.
///
/// # Safety
///
/// `wr` is an initialised work request. If it is an inline send, `sg_list` points to its
/// segments.
pub(in crate::rdma) unsafe fn place_imm(
    wr: *mut bindings::ib_send_wr,
    imm: &Option<[u8; INLINE_IMM_SIZE]>,
) {
    // SAFETY: As the caller promises.
    unsafe {
        if (*wr).send_flags == INLINE {
            let imm = imm.as_ref().map_or(core::ptr::null(), |imm| imm.as_ptr());
            (*(*wr).sg_list).addr = imm.expose_provenance() as u64;
        }
    }
}
