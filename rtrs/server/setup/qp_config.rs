// SPDX-License-Identifier: GPL-2.0-only

//! Sizes of the queues of a connection.

use kernel::prelude::*;

use rnbd_proto::{
    path_memory::QueueSizes,
    send_queue_size::SendQueueSize,
    wire::rtrs::NextKey, //
};

use crate::{
    kernel_ext::log::Plain,
    pr_err_ratelimited,
    rdma::{
        qp::{
            PollContext,
            QpConfig, //
        },
        sge::MAX_RECV_SGES, //
    },
    server::path::Path, //
};

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
    if inline_imm != device.immediates.is_inline() {
        match inline_imm {
            true => {
                pr_err_ratelimited!(path => "{path}: RDMA device {name} has immediates, and the client asks to do without\n")
            }
            false => {
                pr_err_ratelimited!(path => "{path}: RDMA device {name} has no immediates, and the client does not do without\n")
            }
        }
        return Err(EOPNOTSUPP);
    }
    let sizes = QueueSizes::new(id, &path.shape());
    let (send, recv) = (sizes.send.capacity, sizes.recv);
    let sends_keys = path.offer().next_key() == NextKey::Sent;
    device
        .check_server(send, recv, sends_keys)
        .map_err(|lack| {
            pr_err_ratelimited!(path => "{path}: RDMA device {name} {}\n", Plain(lack));
            EOPNOTSUPP
        })?;
    device
        .chunk_pages(path.config().limits.chunk_size())
        .map_err(|lack| {
            pr_err_ratelimited!(path => "{path}: RDMA device {name} {}\n", Plain(lack));
            EOPNOTSUPP
        })?;
    // An inline immediate, and the new key behind it.
    let sges = if inline_imm { 2 } else { 1 };
    // Responses must not wait, so there is no less.
    let send = SendQueueSize { wrs: send, sges };
    Ok(QpConfig {
        send,
        least_send: send,
        reserve: sizes.send.low_watermark,
        recv,
        // Header and data of eager requests.
        recv_sges: match path.offer().eager() {
            true => MAX_RECV_SGES as u32,
            false => 1,
        },
        vector: path.vector(id),
        poll: match id {
            0 => PollContext::Worker,
            _ => PollContext::Softirq,
        },
        inline_imm,
    })
}
