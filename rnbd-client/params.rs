// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module: defaults of options of `map_device`.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::{
    mpath_policy::MpathPolicy,
    reconnect_backoff,
    session_settings::{
        self,
        SessionSettings, //
    }, //
};

rtrs::module_params! { module "rnbd_client";
    /// How long I/O of a session waits for a path.
    FAST_IO_FAIL_TMO = fast_io_fail_tmo: str ("120"), "Seconds that I/O of a new session waits for a path before it fails, or off (default: 120)";
    /// How often a lost path is reconnected.
    MAX_RECONNECT_ATTEMPTS = max_reconnect_attempts: i32 (-1), "Attempts to reconnect a lost path of a new session, -1 (no limit) to 9999 (default: -1)";
    /// How a path is chosen.
    MP_POLICY = mp_policy: str ("min-inflight"), "How a new session chooses the path of a request: round-robin, min-inflight or min-latency (default: min-inflight)";
    /// How long a request of a disk may take.
    IO_TIMEOUT = io_timeout: u32 (30000), "Milliseconds that a request of a new disk may take before the client acts (default: 30000)";
}

/// Defaults of the options of `map_device`.
#[derive(Clone, Copy)]
pub(crate) struct Defaults {
    /// Those of a new session.
    pub(crate) session: SessionSettings,
    /// Timeout of the requests of a new disk, in milliseconds.
    pub(crate) io_timeout_ms: u32,
}

/// Returns the defaults.
///
/// # Errors
///
/// `EINVAL`, with a line in the log that names the parameter.
pub(crate) fn defaults() -> Result<Defaults> {
    MAX_RECONNECT_ATTEMPTS.require(reconnect_backoff::in_range, "between -1 and 9999")?;
    IO_TIMEOUT.require(|timeout| timeout > 0, "at least 1")?;
    let tmo = FAST_IO_FAIL_TMO.get();
    let policy = MP_POLICY.get();
    let session = SessionSettings {
        fast_io_fail_tmo: session_settings::parse_fast_io_fail_tmo(tmo.to_bytes())
            .map_err(|_| refused("fast_io_fail_tmo", tmo, "off or a number of seconds"))?,
        max_reconnect_attempts: MAX_RECONNECT_ATTEMPTS.get(),
        mpath_policy: MpathPolicy::parse(policy.to_bytes()).ok_or_else(|| {
            refused(
                "mp_policy",
                policy,
                "round-robin, min-inflight or min-latency",
            )
        })?,
    };
    Ok(Defaults {
        session,
        io_timeout_ms: IO_TIMEOUT.get(),
    })
}

fn refused(name: &str, value: &CStr, must: &str) -> Error {
    pr_err!("parameter {name}={value} refused: must be {must}\n");
    EINVAL
}
