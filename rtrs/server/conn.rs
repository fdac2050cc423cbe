// SPDX-License-Identifier: GPL-2.0-only

//! Connections of a path: the context of their queue pairs, how large these
//! are, and what their events mean.

use kernel::prelude::*;
use kernel::sync::Arc;
use rnbd_proto::limits::ServerLimits;
use rnbd_proto::sq_credits::ResponseCredits;

use super::path::Path;
use crate::kernel_ext::log::Plain;
use crate::pr_err_ratelimited;
use crate::rdma::cm::CmEvent;
use crate::rdma::cm::CmEvents;
use crate::rdma::qp::PollContext;
use crate::rdma::qp::QpConfig;
use crate::rdma::wc::Wc;

/// Receives posted on the connection for control.
pub(super) const CONTROL_DEPTH: u32 = 512;

/// What a queue pair belongs to.
pub(super) struct Conn {
    pub(super) path: Arc<Path>,
    /// Place among the connections of the path; 0 is the one for control.
    pub(super) id: u16,
}

impl Conn {
    /// Whether `wc` of a `what` succeeded; closes the path otherwise.
    pub(super) fn check(&self, wc: &Wc, what: &str) -> bool {
        if wc.is_ok() {
            return true;
        }
        if wc.is_flush() {
            // All that is posted is flushed when the path is closed, which does nothing
            // here. Else the device has given the queue pair up, and there need not be
            // another sign of that: the client's requests may have been acknowledged.
            self.path.close("the connection broke");
        } else {
            self.path.fail(fmt!(
                "{what} on connection {} failed: {}",
                self.id,
                wc.status_name()
            ));
        }
        false
    }
}

impl CmEvents for Conn {
    fn event(&self, event: CmEvent) {
        match event {
            CmEvent::Established => {}
            CmEvent::Disconnected => self.path.close("disconnected"),
            CmEvent::AddrChange => self.path.close("address changed"),
            CmEvent::DeviceRemoval => self.path.close("device removed"),
        }
    }
}

/// Receives that connection `id` has posted once its path is up.
pub(super) fn receives(id: u16, limits: ServerLimits) -> u32 {
    match id {
        0 => CONTROL_DEPTH,
        _ => limits.queue_depth().get().into(),
    }
}

/// The queues of connection `id` of `path`, for what its client asked for and is offered.
///
/// # Errors
///
/// `EOPNOTSUPP` when the device cannot have them, with a line in the log.
pub(super) fn qp_config(path: &Path, id: u16) -> Result<QpConfig> {
    let (device, inline_imm) = (path.pd.attrs(), path.req().inline_imm());
    let name = path.pd.device_name();
    // Notes are copied by the device when they are posted, in a way that only devices
    // in software understand, so no client may ask for them where there is no need.
    if inline_imm == device.immediates {
        match inline_imm {
            true => pr_err_ratelimited!("{path}: RDMA device {name} has immediates, and the client asks to do without\n"),
            false => pr_err_ratelimited!("{path}: RDMA device {name} has no immediates, and the client does not do without\n"),
        }
        return Err(EOPNOTSUPP);
    }
    let receives = receives(id, path.shared.limits);
    let room = match id {
        // Control messages are few; room for heartbeats and their answers.
        0 => ResponseCredits {
            capacity: 2 * CONTROL_DEPTH + 2,
            low_watermark: CONTROL_DEPTH,
        },
        _ => ResponseCredits::new(receives, path.offer.new_rkey()),
    };
    let send = room.capacity;
    // And one for the message that sets up the path.
    let recv = receives + 1;
    device.check_server(send, recv).map_err(|lack| {
        pr_err_ratelimited!("{path}: RDMA device {name} {}\n", Plain(lack));
        EOPNOTSUPP
    })?;
    Ok(QpConfig {
        send,
        reserve: room.low_watermark,
        recv,
        // A note, and the new key behind it.
        send_sge: if inline_imm { 2 } else { 1 },
        vector: path.first_vector.wrapping_add(id.into()),
        poll: match id {
            0 => PollContext::Worker,
            _ => PollContext::Softirq,
        },
        inline_imm,
    })
}
