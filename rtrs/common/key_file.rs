// SPDX-License-Identifier: GPL-2.0-only

//! The file `key` of a session in sysfs.

use kernel::prelude::*;

use rnbd_proto::auth::KeyName;

use crate::kernel_ext::{
    log::Plain,
    sysfs::Buf, //
};

/// Shows the name of the key that both sides have proven, or that there is none.
pub(crate) fn show(key: Option<KeyName>, buf: &mut Buf<'_>) -> Result {
    match key {
        Some(key) => buf.print(fmt!("{}\n", Plain(key))),
        None => buf.push(b"(none)\n"),
    }
}
