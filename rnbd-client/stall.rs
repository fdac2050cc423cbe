// SPDX-License-Identifier: GPL-2.0-only

//! A device whose target does not respond: requests that were withdrawn, and what becomes of I/O.
//!
//! The server may execute a request that was withdrawn at any time. So that it does not overwrite
//! newer data, I/O of the device fails until the server has responded to all such requests. Other
//! devices of the session do not wait for that.

#![deny(unsafe_code)]

use core::sync::atomic::{
    AtomicU32,
    Ordering::Relaxed, //
};

use kernel::{
    prelude::*,
    sync::Arc, //
};

use rtrs::client::Permit;

use crate::{
    device::Device,
    mq::stand_in, //
};

/// The requests of a device that were withdrawn.
pub(crate) struct Stall {
    /// Number of its disk.
    number: u32,
    withdrawn: AtomicU32,
}

impl Stall {
    /// Creates one without requests.
    pub(crate) fn new(number: u32) -> Result<Arc<Self>> {
        let withdrawn = AtomicU32::new(0);
        Ok(Arc::new(Self { number, withdrawn }, GFP_KERNEL)?)
    }

    /// Whether the server owes a response to a request that was withdrawn.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.withdrawn.load(Relaxed) > 0
    }

    /// One more request is about to be withdrawn. Returns whether it is the only one.
    fn begin(&self) -> bool {
        self.withdrawn.fetch_add(1, Relaxed) == 0
    }

    /// The request could not be withdrawn.
    fn cancel(&self) {
        self.withdrawn.fetch_sub(1, Relaxed);
    }

    /// A request that was withdrawn has ended. Any context.
    pub(crate) fn end(&self) {
        if self.withdrawn.fetch_sub(1, Relaxed) == 1 {
            pr_info!(
                "rnbd{}: the server has responded to all requests, I/O goes on\n",
                self.number
            );
        }
    }
}

impl Device {
    /// Withdraws the request of `tag`, for which there is no response: it fails. Returns false if
    /// it is not in flight, or cannot be withdrawn at the moment. Does not sleep.
    ///
    /// `tag` must not be given to another request meanwhile.
    pub(crate) fn withdraw(&self, tag: u32) -> bool {
        let (ids, stall) = (self.ids.clone(), self.stall.clone());
        let Some(id) = ids.replace(tag) else {
            return false;
        };
        let stand_in = stand_in::new(GFP_ATOMIC, move |result| match result {
            Ok(()) => {
                ids.free(id);
                stall.end();
            }
            // It was not withdrawn.
            Err(ECANCELED) => {}
            Err(_) => ids.lose(id, stall),
        });
        let Ok(stand_in) = stand_in else {
            self.ids.restore(tag, id);
            return false;
        };
        let first = self.stall.begin();
        match self.transport.withdraw(Permit::new(id), stand_in) {
            Ok(()) => {
                if first {
                    pr_err!(
                        "rnbd{}: the server does not respond, I/O fails until it does\n",
                        self.number
                    );
                }
                true
            }
            Err(stand_in) => {
                self.ids.restore(tag, id);
                stand_in.done(Err(ECANCELED));
                self.stall.cancel();
                false
            }
        }
    }
}
