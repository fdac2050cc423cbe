// SPDX-License-Identifier: GPL-2.0-only

//! A failed attempt to connect a session, which answers all writers that have waited for it.
//!
//! Writers of `map_device` that name one session wait for the one that connects it. Each of them
//! would otherwise try again, and take as long: 20 devices of a server that is down would be
//! refused after 20 timeouts.

#![deny(unsafe_code)]

use kernel::{
    prelude::*,
    str::CString,
    time::{
        Instant,
        Monotonic, //
    }, //
};

use rnbd_proto::text::map_device::MapOptions;

use rtrs::kernel_ext::log::Plain;

/// How an attempt ended.
pub(crate) struct FailedConnect {
    end: Instant<Monotonic>,
    /// What the attempt was made with, as text.
    server: CString,
    error: Error,
}

impl FailedConnect {
    /// Keeps the `error` of an attempt that has ended now, unless it says something of the writer
    /// rather than of the server: that it was killed, or has no memory.
    pub(crate) fn new(options: &MapOptions<'_>, error: Error) -> Option<Self> {
        if [EINTR, ERESTARTSYS, ENOMEM].contains(&error) {
            return None;
        }
        Some(Self {
            end: Instant::now(),
            server: server(options).ok()?,
            error,
        })
    }

    /// Returns the error if a writer of `options` has waited for the end of the attempt since
    /// `since`, and would try the same.
    pub(crate) fn answer(
        &self,
        options: &MapOptions<'_>,
        since: Instant<Monotonic>,
    ) -> Result<Option<Error>> {
        let waited = since.elapsed();
        let answers = self.end.elapsed() <= waited && *self.server == *server(options)?;
        Ok(answers.then_some(self.error))
    }
}

fn server(options: &MapOptions<'_>) -> Result<CString> {
    CString::try_from_fmt(fmt!("{}", Plain(options.server())))
}
