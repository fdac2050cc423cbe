// SPDX-License-Identifier: GPL-2.0-only

//! Files of the server below `/sys/class/rtrs-server`.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-server`.

pub(super) mod path;
pub(super) mod session;
