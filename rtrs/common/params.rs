// SPDX-License-Identifier: GPL-2.0-only

//! Module parameters of both sides.

use crate::module_params;

module_params! {
    module "rtrs";
    /// Whether requests may be eager.
    EAGER_REQUESTS = eager_requests: bool (true),
        "Send requests, and up to 4 KiB of data, as messages where both sides can (default: Y)";
}

/// Returns whether requests may be eager.
pub(crate) fn eager_requests() -> bool {
    EAGER_REQUESTS.get()
}
