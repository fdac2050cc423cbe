// SPDX-License-Identifier: GPL-2.0-only

//! What the server of a session has to know: our protocol version, and the
//! devices that are mapped.
//!
//! A server forgets both with the last path of a session. When there is a path
//! again, it is told anew, before I/O goes on.
//!
//! And what a server has to tell of the devices: that one has another size, or was
//! closed over there.

#![deny(unsafe_code)]

use crate::device::Device;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use rnbd_proto::error::WireError;
use rnbd_proto::wire::name::DevicePath;
use rnbd_proto::wire::rnbd::CloseMsg;
use rnbd_proto::wire::rnbd::DevInfo;
use rnbd_proto::wire::rnbd::DeviceId;
use rnbd_proto::wire::rnbd::OpenMsg;
use rnbd_proto::wire::rnbd::OpenRsp;
use rnbd_proto::wire::rnbd::SessInfo;
use rnbd_proto::wire::rnbd::SessInfoRsp;
use rnbd_proto::wire::rnbd::OPEN_RSP_SIZE;
use rnbd_proto::wire::rnbd::SESS_INFO_RSP_SIZE;
use rtrs::client::Direction;
use rtrs::client::Events;
use rtrs::client::Session;
use rtrs::kernel_ext::log::Plain;

/// The devices of one session that the server has open.
#[pin_data]
pub(crate) struct OpenDevices {
    /// Name of the session.
    name: KVec<u8>,
    /// Held while the server opens one, so that none is forgotten when the session
    /// is lost in between.
    #[pin]
    entries: Mutex<Entries>,
}

struct Entries {
    devices: KVec<Arc<Device>>,
    /// Whether each device was opened, or lost, since the server was greeted. Else ids
    /// may be of a session that it has forgotten.
    told: bool,
}

impl OpenDevices {
    /// For the session called `name`.
    pub(crate) fn new(name: &[u8]) -> Result<Arc<Self>> {
        let mut copy = KVec::new();
        copy.extend_from_slice(name, GFP_KERNEL)?;
        let entries = Entries {
            devices: KVec::new(),
            told: true,
        };
        Arc::pin_init(
            pin_init!(Self {
                name: copy,
                entries <- new_mutex!(entries, "rnbd_roster"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the server open `device`, and keeps it open until that is dropped.
    pub(crate) fn open(
        self: &Arc<Self>,
        session: &Arc<Session>,
        device: &Arc<Device>,
    ) -> Result<(Opened, OpenRsp)> {
        let mut entries = self.entries.lock();
        entries.devices.reserve(1, GFP_KERNEL)?;
        let answer = open(session, device)?;
        device.opened(&answer)?;
        device.sizing.first(answer.geometry.sectors());
        let opened = Opened {
            session: session.clone(),
            roster: self.clone(),
            device: device.clone(),
        };
        let pushed = entries.devices.push(device.clone(), GFP_KERNEL);
        // Not with the lock, which dropping `opened` takes.
        drop(entries);
        pushed?;
        Ok((opened, answer))
    }

    /// Has the server open `device`, which is one of these, once more.
    pub(crate) fn reopen(&self, session: &Session, device: &Arc<Device>) -> Result {
        let _entries = self.entries.lock();
        open_again(session, device)?;
        pr_info!("rnbd{}: opened again\n", device.number);
        Ok(())
    }
}

impl Events for OpenDevices {
    fn disconnected(&self, waits: bool) {
        pr_warn!(
            "session {}: disconnected, I/O on its devices {}\n",
            Plain(self.name.escape_ascii()),
            if waits { "waits" } else { "fails" }
        );
    }

    fn reconnected(&self, session: &Arc<Session>) -> Result {
        let mut entries = self.entries.lock();
        entries.told = false;
        greet(session)?;
        for device in &entries.devices {
            match open_again(session, device) {
                Ok(()) => (),
                Err(err) if is_of_transport(err) => return Err(err),
                Err(err) => {
                    rtrs::pr_err_ratelimited!(
                        "rnbd{}: the server does not open it any more: {err:?}\n",
                        device.number
                    );
                    device.lose();
                }
            }
        }
        entries.told = true;
        pr_info!(
            "session {}: connected again, {} devices opened\n",
            Plain(self.name.escape_ascii()),
            entries.devices.len()
        );
        Ok(())
    }

    fn async_event(&self, session: &Arc<Session>) -> Result {
        let entries = self.entries.lock();
        // They are going to be opened, which tells all there is.
        if !entries.told {
            return Err(ENOTCONN);
        }
        // What was lost has no id to ask for.
        for device in entries.devices.iter().filter(|device| device.is_mapped()) {
            match look_again(session, device) {
                Ok(()) => (),
                Err(err) if is_of_transport(err) => return Err(err),
                // Not from a server that forgot the session meanwhile: that answers no
                // such question before it is greeted, for which this lock is needed.
                Err(ENOENT) => {
                    pr_warn!(
                        "rnbd{}: the server has closed it, I/O fails until it is opened again\n",
                        device.number
                    );
                    device.lose();
                }
                Err(err) => {
                    let number = device.number;
                    rtrs::pr_err_ratelimited!("rnbd{number}: size not taken over: {err:?}\n");
                }
            }
        }
        Ok(())
    }
}

/// Whether `err` of a control message need not be the server's word, or is not its last.
fn is_of_transport(err: Error) -> bool {
    [
        ECONNABORTED,
        ETIMEDOUT,
        ENOTCONN,
        ERESTARTSYS,
        ENOMEM,
        ENOSPC,
    ]
    .contains(&err)
}

/// Exchanges protocol versions, and what both sides can do beyond that.
pub(crate) fn greet(session: &Session) -> Result {
    let mut reply = [0; SESS_INFO_RSP_SIZE];
    let len = session.call(Direction::Read, &SessInfo::OURS.encode(), &mut reply)?;
    let greeting = SessInfoRsp::parse(reply.get(..len).ok_or(EPROTO)?).map_err(refused)?;
    session.listen(greeting.event_count());
    Ok(())
}

fn open(session: &Session, device: &Device) -> Result<OpenRsp> {
    let open = OpenMsg {
        mode: device.mode,
        path: DevicePath::new(&device.path).map_err(|_| EINVAL)?,
    };
    let mut reply = [0; OPEN_RSP_SIZE];
    let len = session.call(Direction::Read, &open.encode(), &mut reply)?;
    let reply = reply.get(..len).ok_or(EPROTO)?;
    OpenRsp::parse(reply).map_err(|err| {
        // It is open over there, and nobody would ever close it.
        if let Some(device) = OpenRsp::device_of(reply) {
            close(session, device);
        }
        refused(err)
    })
}

/// As [`open`], for a device that has a disk, which takes over its size.
fn open_again(session: &Session, device: &Device) -> Result {
    let answer = open(session, device)?;
    let opened = device
        .sizing
        .again(answer.geometry.sectors())
        .and_then(|()| device.opened(&answer));
    if opened.is_err() {
        close(session, answer.device);
    }
    opened
}

/// Asks how `device`, which is open, is now.
fn look_again(session: &Session, device: &Device) -> Result {
    let ask = DevInfo {
        device: device.id().ok_or(ENOENT)?,
    };
    let mut reply = [0; OPEN_RSP_SIZE];
    let len = session.call(Direction::Read, &ask.encode(), &mut reply)?;
    let answer = OpenRsp::parse(reply.get(..len).ok_or(EPROTO)?).map_err(refused)?;
    device.sizing.follow(answer.geometry.sectors())
}

/// The error for an answer that makes no sense.
fn refused(err: WireError) -> Error {
    pr_err!("bad answer of the server: {}\n", Plain(err));
    EPROTO
}

/// Has the server close a device that it has open for us.
fn close(session: &Session, device: DeviceId) {
    let close = CloseMsg { device }.encode();
    if let Err(err) = session.call(Direction::Write, &close, &mut []) {
        pr_warn!(
            "closing device {} on the server: {:?}\n",
            Plain(device),
            err
        );
    }
}

/// A device that the server has opened for us, closed on drop.
pub(crate) struct Opened {
    session: Arc<Session>,
    roster: Arc<OpenDevices>,
    device: Arc<Device>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let ours = |device: &Arc<Device>| Arc::ptr_eq(device, &self.device);
        let mut entries = self.roster.entries.lock();
        let index = entries.devices.iter().position(ours);
        let entry = index.and_then(|index| entries.devices.remove(index).ok());
        // Under the lock: a server that lost the session counts ids anew, and until the
        // lock is free it opens no other device under this one.
        //
        // It closes the devices of a session that ends by itself.
        if let (Some(id), true) = (self.device.lose(), self.session.is_connected()) {
            close(&self.session, id);
        }
        drop(entries);
        drop(entry);
    }
}
