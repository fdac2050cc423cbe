// SPDX-License-Identifier: GPL-2.0-only

//! A connected session of the transport, and the objects that its devices share.

#![deny(unsafe_code)]

use core::ops::Deref;

use kernel::{
    prelude::*,
    sync::Arc,
    types::ScopeGuard,
    ModuleMetadata, //
};

use rnbd_proto::{
    session_identity::{
        check_key,
        Conflict, //
    },
    tag_share::TagShare,
    text::map_device::MapOptions, //
};

use rtrs::{
    client::{
        Session,
        SessionConfig, //
    },
    kernel_ext::{
        cpu,
        log::Plain, //
    }, //
};

use crate::{
    device::Device,
    message_ids::MessageIds,
    module_resources::ModuleResources,
    mq::TagSet,
    open_devices::OpenDevices, //
};

/// The objects that the devices of a connected session share. Does not keep the session
/// connected.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    /// The session of the transport.
    pub(crate) transport: Arc<Session>,
    /// The devices that the server has open.
    pub(crate) open_devices: Arc<OpenDevices>,
    /// The message ids of all requests.
    pub(crate) ids: Arc<MessageIds>,
    /// The requests of all disks.
    pub(crate) tag_set: Arc<TagSet<Device>>,
}

/// A connected session of the transport. Drop closes it, and waits until each request in
/// flight has completed.
pub(crate) struct RtrsSession(SessionHandle);

impl RtrsSession {
    /// Connects to the server and exchanges protocol versions.
    ///
    /// # Errors
    ///
    /// `ENXIO` without a path, otherwise those of [`Session::open`] and of the server. All are
    /// logged.
    pub(crate) fn connect(resources: &ModuleResources, options: &MapOptions<'_>) -> Result<Self> {
        if options.paths().next().is_none() {
            pr_err!(
                "map_device: option path is missing, and there is no session {}\n",
                Plain(options.sessname)
            );
            return Err(ENXIO);
        }
        Self::try_connect(resources, options).inspect_err(|err| {
            pr_err!(
                "map_device: option path: session {} cannot be connected: {:?}\n",
                Plain(options.sessname),
                err
            );
        })
    }

    fn try_connect(resources: &ModuleResources, options: &MapOptions<'_>) -> Result<Self> {
        let mut paths = KVec::new();
        for path in options.paths() {
            paths.push(path, GFP_KERNEL)?;
        }
        let config = SessionConfig {
            name: options.sessname,
            paths: &paths,
            port: options.port(),
            nr_poll_queues: options.nr_poll_queues,
            key: options.key,
            settings: options.settings.or(resources.defaults.session),
            module: &crate::LocalModule::THIS_MODULE,
        };
        let open_devices = OpenDevices::new(options.sessname.as_bytes(), resources.queue.clone())?;
        let transport = Session::open(&resources.client, &config, open_devices.clone())?;
        let transport = ScopeGuard::new_with_data(transport, |transport| transport.close());
        open_devices.start(&transport)?;
        let share = TagShare::of(transport.io_depth());
        let ids = MessageIds::new(share)?;
        open_devices.set_ids(&ids);
        let tag_set = TagSet::new(share.tags, cpu::online(), transport.nr_poll_queues())?;
        Ok(Self(SessionHandle {
            transport: transport.dismiss(),
            open_devices,
            ids,
            tag_set,
        }))
    }

    /// Checks that `options` mean this session, and not only one of the same name.
    ///
    /// # Errors
    ///
    /// `ENOTUNIQ`, with a line in the log, when they name other addresses or another key.
    pub(crate) fn check_paths(&self, options: &MapOptions<'_>) -> Result {
        let conflict = self
            .conflict(options.paths(), options.dest_port)
            .inspect_err(|err| pr_err!("map_device: option path: {err:?}\n"))?;
        let conflict = conflict.or(check_key(options.key, self.key()).err());
        let Some(conflict) = conflict else {
            return Ok(());
        };
        let (option, with) = match conflict {
            Conflict::Path => ("path", "with other addresses"),
            Conflict::Port => ("dest_port", "with other addresses"),
            Conflict::Key => ("key", "with another key, or without one"),
        };
        pr_err!(
            "map_device: option {option}: session {} exists {with}, {} is not mapped; leave the option out, or use another sessname\n",
            Plain(options.sessname),
            Plain(options.device_path)
        );
        Err(Error::from_errno(-conflict.errno()))
    }

    /// Checks that `options` do not ask for other settings than the session has, which its
    /// other devices rely on.
    ///
    /// # Errors
    ///
    /// `EINVAL`, with a line in the log.
    pub(crate) fn check_settings(&self, options: &MapOptions<'_>) -> Result {
        let Some(option) = options.settings.conflict(&self.settings()) else {
            return Ok(());
        };
        pr_err!(
            "map_device: option {option}: session {} exists with another value, which applies to all its devices; change it in /sys/class/rtrs-client\n",
            Plain(options.sessname)
        );
        Err(EINVAL)
    }

    /// Returns a handle for one more device.
    pub(crate) fn handle(&self) -> SessionHandle {
        self.0.clone()
    }
}

impl Deref for RtrsSession {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0.transport
    }
}

impl Drop for RtrsSession {
    fn drop(&mut self) {
        self.0.transport.close();
    }
}
