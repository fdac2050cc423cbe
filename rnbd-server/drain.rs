// SPDX-License-Identifier: GPL-2.0-only

//! Waiting until nobody uses a thing any more.
//!
//! The thing carries an [`InUse`] as its last field, and is shared by `Arc`. Who
//! is to wait holds the [`Unused`] made with it: its drop sleeps until the last
//! reference to the thing is gone, and with it all fields before the [`InUse`].
//! So the reference count that keeps the thing is all that users have to touch.

#![deny(unsafe_code)]

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Completion;

/// Says on drop, in any context, that the thing it is part of is gone.
pub(crate) struct InUse(Arc<Completion>);

/// Waits on drop until its [`InUse`] was dropped.
pub(crate) struct Unused(Arc<Completion>);

/// A new pair. Two variables bound to it go in the right order: the last one first.
pub(crate) fn pair() -> Result<(Unused, InUse)> {
    let gone = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

    Ok((Unused(gone.clone()), InUse(gone)))
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        self.0.wait_for_completion();
    }
}
