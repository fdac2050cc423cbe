// SPDX-License-Identifier: GPL-2.0-only

//! What sysfs shows of a session: `/sys/class/rtrs-server/<session>/`.
//!
//! ABI: `Documentation/ABI/sysfs-rtrs-server`.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;

use super::listen::Shared;
use super::session::Session;
use crate::kernel_ext::class::ClassDevice;
use crate::kernel_ext::kobject::AsSysfsParent;
use crate::kernel_ext::kobject::SysfsParent;
use crate::kernel_ext::sysfs::Attrs;
use crate::kernel_ext::sysfs::Buf;
use crate::kernel_ext::sysfs::SysfsDir;
use crate::sysfs_files;

sysfs_files! {
    static SESSION_FILES: Files<SessionFiles> = [
        c"pinned_memory" => show(SessionFiles::show_pinned_memory);
    ];
}

/// The directory of a session. Dropping it waits for callbacks that run.
pub(super) struct SessionDir {
    // Dropped in this order.
    paths: SysfsDir,
    _files: Attrs,
}

impl SessionDir {
    /// Shows `session`, which has a name. No other session of that name is in
    /// the table, so nobody else makes the same directory at this moment.
    ///
    /// The reference to it that the files hold is a cycle, which the last path
    /// ends as it goes down.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the server has stopped, `ENOMEM`, and `EINVAL` or `EEXIST`
    /// when sysfs does not take the name.
    pub(super) fn new(shared: &Arc<Shared>, session: &Arc<Session>) -> Result<Self> {
        let class = shared.table.lock().class()?;
        let device = ClassDevice::new(&class, session.name())?;
        let files = SessionFiles {
            shared: shared.clone(),
            session: session.clone(),
        };
        let files = Arc::new(files, GFP_KERNEL)?;
        Ok(Self {
            _files: Attrs::attach(&device, files, &SESSION_FILES)?,
            paths: SysfsDir::bare(&device, c"paths")?,
        })
    }

    /// Where paths have their directories.
    pub(super) fn paths(&self) -> SysfsParent {
        self.paths.parent()
    }
}

/// What the files speak of.
struct SessionFiles {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

impl SessionFiles {
    /// The lock is one that nobody holds who waits for this to return.
    fn show_pinned_memory(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        let bytes = this.shared.table.lock().pinned(&this.session);
        buf.print(fmt!("{bytes}\n"))
    }
}
