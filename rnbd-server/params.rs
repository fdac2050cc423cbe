// SPDX-License-Identifier: GPL-2.0-only

//! Parameters of the module.

#![deny(unsafe_code)]

use kernel::prelude::*;

use rnbd_proto::{
    block_command::PrioPolicy,
    export_rules::Permission,
    search_path::SearchPath, //
};

use rtrs::kernel_ext::log::Plain;

rtrs::module_params! { module "rnbd_server";
    /// The port to listen on.
    PORT = port_nr: u16 (1234), "Port to listen on (default: 1234)";
    /// The directory that device paths are relative to.
    SEARCH = dev_search_path: str ("/"), "Directory that clients' device paths are relative to; %SESSNAME% stands for the name of the client's session (default: /)";
    /// The permission of all clients while there are no rules.
    EXPORT_DEFAULT = export_default: str ("allow"), "What clients may open as long as there are no export_rules: allow (everything below dev_search_path) or deny (nothing) (default: allow)";
    /// Whether a device that this machine uses is kept from being written by clients.
    REFUSE_IN_USE = refuse_in_use: bool (false), "Do not let clients write to a device that is mounted, or used by MD, device-mapper or as swap, on this machine (default: N)";
    /// Whether clients may use the real-time class of I/O priorities.
    REALTIME_IO = realtime_io: bool (false), "Let clients use the real-time class of I/O priorities; otherwise it becomes best-effort (default: N)";
}

/// Returns whether a device that this machine uses is kept from being written by clients.
pub(crate) fn refuse_in_use() -> bool {
    REFUSE_IN_USE.get()
}

/// Returns the real-time class's part in what clients may ask for.
pub(crate) fn prio_policy() -> PrioPolicy {
    match REALTIME_IO.get() {
        true => PrioPolicy::All,
        false => PrioPolicy::NoRealTime,
    }
}

/// Returns the port to listen on.
///
/// # Errors
///
/// `EINVAL`, with a line in the log, if it is 0.
pub(crate) fn port() -> Result<u16> {
    PORT.require(|port| port != 0, "between 1 and 65535")?;
    Ok(PORT.get())
}

/// Returns the directory that device paths are relative to.
///
/// # Errors
///
/// `EINVAL`, with a line in the log, if it is not an absolute path.
pub(crate) fn search_path() -> Result<SearchPath<'static>> {
    let path = SEARCH.get();

    SearchPath::new(path.to_bytes()).map_err(|reason| {
        pr_err!("dev_search_path '{}': {}\n", path, Plain(reason));
        EINVAL
    })
}

/// Returns the permission of clients while there are no rules, and logs it.
///
/// # Errors
///
/// `EINVAL`, with a line in the log, if it is neither `allow` nor `deny`.
pub(crate) fn export_default() -> Result<Permission> {
    let word = EXPORT_DEFAULT.get();

    match word.to_bytes() {
        b"allow" => {
            pr_info!(
                "export_default=allow: without export_rules every client may open every block device below '{}'\n",
                SEARCH.get()
            );
            Ok(Permission::Full)
        }
        b"deny" => {
            pr_info!("export_default=deny: without export_rules no client may open anything\n");
            Ok(Permission::Denied)
        }
        _ => {
            pr_err!(
                "parameter export_default={} refused: must be allow or deny\n",
                word
            );
            Err(EINVAL)
        }
    }
}
