// SPDX-License-Identifier: GPL-2.0-only

//! Identity, limits and settings of a session.

use core::sync::atomic::{
    AtomicI32,
    AtomicU32,
    Ordering::Relaxed, //
};

use kernel::{
    fmt,
    prelude::*,
    str::CString, //
};

use rnbd_proto::{
    auth::KeyName,
    session_settings::SessionSettings,
    text::path_addr::PathAddr,
    wire::{
        name::SessName,
        rtrs::Uuid, //
    }, //
};

use crate::kernel_ext::{
    log::Plain,
    random, //
};

use super::negotiated::PathLimits;

/// Message ids that are reserved for control messages.
const CONTROL_PERMITS: u32 = 1;

/// What a session is opened with.
pub struct SessionConfig<'a> {
    /// Identifies the session on both sides.
    pub name: SessName<'a>,
    /// Addresses of the server. Paths that cannot be connected now are tried again.
    pub paths: &'a [PathAddr<'a>],
    /// Port of the server.
    pub port: u16,
    /// Connections of each path for polled I/O, beside those for the CPUs.
    pub nr_poll_queues: u32,
    /// Name of the key that the client and the server must prove on each path, if there is one.
    pub key: Option<KeyName>,
    /// Settings, which users can change later.
    pub settings: SessionSettings,
    /// The module that the code of the session's events and payloads belongs to.
    pub module: &'static ThisModule,
}

/// Identity, limits and settings of a session.
pub(super) struct SessionParams {
    name: CString,
    uuid: Uuid,
    port: u16,
    nr_poll_queues: u32,
    key: Option<KeyName>,
    module: &'static ThisModule,
    /// Limits of the first path; other paths and later links must not offer less.
    depth: AtomicU32,
    max_io_size: AtomicU32,
    max_reconnect_attempts: AtomicI32,
    /// Seconds that I/O waits for a path; negative: without end.
    fast_io_fail_tmo: AtomicI32,
}

impl SessionParams {
    pub(super) fn new(config: &SessionConfig<'_>) -> Result<Self> {
        let name = Plain(config.name);
        Ok(Self {
            name: CString::try_from_fmt(fmt!("{name}"))?,
            uuid: Uuid(random::uuid()),
            port: config.port,
            nr_poll_queues: config.nr_poll_queues,
            key: config.key,
            module: config.module,
            depth: AtomicU32::new(0),
            max_io_size: AtomicU32::new(0),
            max_reconnect_attempts: AtomicI32::new(config.settings.max_reconnect_attempts),
            fast_io_fail_tmo: AtomicI32::new(config.settings.fast_io_fail_tmo),
        })
    }

    pub(super) fn name(&self) -> &CStr {
        &self.name
    }

    pub(super) fn sess_name(&self) -> Result<SessName<'_>> {
        SessName::new(self.name.to_bytes()).map_err(|_| EINVAL)
    }

    /// Writes the prefix of log lines.
    pub(super) fn fmt_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}:", &*self.name))
    }

    pub(super) fn uuid(&self) -> Uuid {
        self.uuid
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the name of the key of all paths.
    pub(super) fn key(&self) -> Option<KeyName> {
        self.key
    }

    /// Returns the module of the block driver.
    pub(super) fn module(&self) -> &'static ThisModule {
        self.module
    }

    #[inline]
    pub(super) fn nr_poll_queues(&self) -> u32 {
        self.nr_poll_queues
    }

    /// Returns the number of message ids, 0 before a path was connected.
    #[inline]
    pub(super) fn queue_depth(&self) -> u32 {
        self.depth.load(Relaxed)
    }

    /// Returns the number of message ids for I/O, which are those from 0.
    #[inline]
    pub(super) fn io_depth(&self) -> u32 {
        self.queue_depth().saturating_sub(CONTROL_PERMITS)
    }

    #[inline]
    pub(super) fn max_io_size(&self) -> u32 {
        self.max_io_size.load(Relaxed)
    }

    /// Checks whether the session can use a path with `limits`.
    ///
    /// # Errors
    ///
    /// `EPROTO`, with a line in the log.
    pub(super) fn check_limits(&self, limits: PathLimits) -> Result {
        let (depth, size) = (u32::from(limits.depth), limits.max_io_size);
        let (old_depth, old_size) = (self.queue_depth(), self.max_io_size());
        if depth <= CONTROL_PERMITS {
            pr_err!(
                "{}: the path offers queue depth {depth}, but one message id is for control\n",
                &*self.name
            );
            return Err(EPROTO);
        }
        if depth < old_depth || size < old_size {
            pr_err!(
                "{}: the path offers queue depth {depth} and {size} bytes a request, less than the {old_depth} and {old_size} of the mapped devices; unmap and map them again\n",
                &*self.name
            );
            return Err(EPROTO);
        }
        Ok(())
    }

    /// Sets the limits of the session.
    pub(super) fn set_limits(&self, limits: PathLimits) {
        self.max_io_size.store(limits.max_io_size, Relaxed);
        self.depth.store(limits.depth.into(), Relaxed);
    }

    pub(super) fn max_reconnect_attempts(&self) -> i32 {
        self.max_reconnect_attempts.load(Relaxed)
    }

    pub(super) fn set_max_reconnect_attempts(&self, attempts: i32) {
        self.max_reconnect_attempts.store(attempts, Relaxed);
    }

    pub(super) fn fast_io_fail_tmo(&self) -> i32 {
        self.fast_io_fail_tmo.load(Relaxed)
    }

    pub(super) fn set_fast_io_fail_tmo(&self, seconds: i32) {
        self.fast_io_fail_tmo.store(seconds, Relaxed);
    }
}
