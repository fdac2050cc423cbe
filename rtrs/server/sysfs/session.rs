// SPDX-License-Identifier: GPL-2.0-only

//! Files of a session: `/sys/class/rtrs-server/<session>/`.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    common::key_file,
    kernel_ext::{
        class::ClassDevice,
        sysfs::{
            Attrs,
            Buf,
            SysfsDir, //
        }, //
    },
    server::session::{
        Registry,
        Session,
        SessionDir, //
    },
    sysfs_files, //
};

sysfs_files! {
    static SESSION_FILES: Files<SessionFiles> = [
        c"key" => show(SessionFiles::show_key);
        c"pinned_memory" => show(SessionFiles::show_pinned_memory);
    ];
}

/// Shows `session`, which has a name. No other session in the table has that name, so no other
/// thread creates the same directory at this time.
///
/// The files hold a reference to the session; the last path ends that cycle as it goes down.
///
/// # Errors
///
/// `ENODEV` when the server has stopped, `ENOMEM`, and `EINVAL` or `EEXIST` when sysfs does not
/// take the name.
pub(in crate::server) fn show(
    registry: &Arc<dyn Registry>,
    session: &Arc<Session>,
) -> Result<SessionDir> {
    let device = ClassDevice::new(&registry.class()?, session.name())?;
    let files = SessionFiles {
        registry: registry.clone(),
        session: session.clone(),
    };
    let files = Attrs::attach(&device, Arc::new(files, GFP_KERNEL)?, &SESSION_FILES)?;
    let paths = SysfsDir::bare(&device, c"paths")?;
    Ok(SessionDir::new(paths, files))
}

/// The session that the files show.
struct SessionFiles {
    registry: Arc<dyn Registry>,
    session: Arc<Session>,
}

impl SessionFiles {
    fn show_key(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        key_file::show(this.session.key(), buf)
    }

    /// Takes the lock of the table. No thread that waits for this to return holds that.
    fn show_pinned_memory(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        let bytes = this.registry.pinned(&this.session);
        buf.print(fmt!("{bytes}\n"))
    }
}
