// SPDX-License-Identifier: GPL-2.0-only

//! Sizes of the queues of a connection.

use kernel::prelude::*;

use rnbd_proto::{
    limits::ServerLimits,
    response_credits::ResponseCredits, //
};

use crate::{
    kernel_ext::log::Plain,
    pr_err_ratelimited,
    rdma::qp::{
        PollContext,
        QpConfig, //
    },
    server::path::Path, //
};

/// Receives posted on the control connection.
const CONTROL_DEPTH: u32 = 512;

/// Returns the number of receives that connection `id` has posted once its path is up.
pub(super) fn receives(id: u16, limits: ServerLimits) -> u32 {
    match id {
        0 => CONTROL_DEPTH,
        _ => limits.queue_depth().get().into(),
    }
}

/// Returns the configuration of the queues of connection `id` of `path`, as its client asked for
/// and is offered.
///
/// # Errors
///
/// `EOPNOTSUPP`, with a line in the log, when the device does not support it.
pub(super) fn qp_config(path: &Path, id: u16) -> Result<QpConfig> {
    let (device, inline_imm) = (path.pd().attrs(), path.req().inline_imm());
    let name = path.pd().device_name();
    // The device copies inline immediates when they are posted, in a way that only software
    // devices understand. So a client may ask for them only where they are needed.
    if inline_imm == device.immediates {
        match inline_imm {
            true => pr_err_ratelimited!("{path}: RDMA device {name} has immediates, and the client asks to do without\n"),
            false => pr_err_ratelimited!("{path}: RDMA device {name} has no immediates, and the client does not do without\n"),
        }
        return Err(EOPNOTSUPP);
    }
    let receives = receives(id, path.config().limits);
    let credits = match id {
        // Control messages are few; enough for heartbeats and their acknowledgements.
        0 => ResponseCredits {
            capacity: 2 * CONTROL_DEPTH + 2,
            low_watermark: CONTROL_DEPTH,
        },
        _ => ResponseCredits::new(receives, path.offer().new_rkey()),
    };
    let send = credits.capacity;
    // One more for the INFO message.
    let recv = receives + 1;
    device.check_server(send, recv).map_err(|lack| {
        pr_err_ratelimited!("{path}: RDMA device {name} {}\n", Plain(lack));
        EOPNOTSUPP
    })?;
    Ok(QpConfig {
        send,
        reserve: credits.low_watermark,
        recv,
        // An inline immediate, and the new key behind it.
        send_sge: if inline_imm { 2 } else { 1 },
        vector: path.vector(id),
        poll: match id {
            0 => PollContext::Worker,
            _ => PollContext::Softirq,
        },
        inline_imm,
    })
}
