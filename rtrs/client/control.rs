// SPDX-License-Identifier: GPL-2.0-only

//! Control channel: messages of the session itself, one at a time.

use kernel::{
    prelude::*,
    sync::Arc,
    time::Delta, //
};

use crate::{
    kernel_ext::noio_mutex::NoIoMutex,
    new_noio_mutex,
    rdma::payload::LinearPayload, //
};

use super::io_request::{
    Direction,
    IoRequest,
    Permit,
    Queue,
    SubmitResult, //
};

/// Limit of the wait for a response.
const TIMEOUT: Delta = Delta::from_secs(30);

/// Serialises control messages, which share one message id.
#[pin_data]
pub(super) struct ControlChannel {
    /// The message that still uses the id, though its sender has given up waiting.
    #[pin]
    last: NoIoMutex<Option<Arc<LinearPayload>>>,
}

impl ControlChannel {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            last <- new_noio_mutex!(None, "rtrs_session_control"),
        })
    }

    /// Sends `msg` under `permit` by `send`, waits for the response, and copies its data to
    /// `reply`. See [`Session::call`](super::Session::call).
    pub(super) fn call(
        &self,
        permit: Permit,
        dir: Direction,
        msg: &[u8],
        reply: &mut [u8],
        send: impl FnOnce(IoRequest) -> SubmitResult,
    ) -> Result<usize> {
        let mut last = self.last.lock_killable()?;
        if let Some(payload) = &*last {
            payload.wait_over(TIMEOUT)?;
        }
        *last = None;
        let len = u32::try_from(reply.len())?;
        let payload = LinearPayload::new(msg, len)?;
        let request = IoRequest {
            dir,
            permit,
            queue: Queue::Cpu,
            len,
            control: true,
            stand_in: false,
            lost_paths: 0,
            compared: false,
            payload: LinearPayload::launch(&payload).ok_or(EBUSY)?,
        };
        send(request).map_err(|(_, e)| e)?;
        payload.wait_over(TIMEOUT).inspect_err(|_| {
            *last = Some(payload.clone());
        })?;
        payload.take(reply)?;
        Ok(reply.len())
    }
}
