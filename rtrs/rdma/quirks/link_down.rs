// SPDX-License-Identifier: GPL-2.0-only

//! Closing connections of soft-RoCE (`rdma_rxe`) before their network interface goes down.
//!
//! Soft-RoCE moves a queue pair to the error state when it cannot hand a packet to the network,
//! even the one for management datagrams (GSI), which never leaves that state again
//! (`rxe_requester`, `rxe_qp_error`). One datagram over an interface that is down is enough, and
//! no connection can be made until the RDMA device is made again. The connection manager sends
//! such datagrams by itself: to disconnect when an established id is destroyed, to reject when
//! one is destroyed that waits for the peer, and again and again until the peer responds.
//!
//! So nothing may be left to send. Every id that may send is [watched](WatchedId) from before
//! its first datagram until it is destroyed. When an interface is about to go down
//! (`NETDEV_GOING_DOWN`), its ids are told, and the notifier waits until their owners have
//! destroyed them, which disconnects over the interface that is still up. Ids that come later
//! fail until the interface is up again.
//!
//! Other devices can send while the interface is down, and their connections may outlive that.
//!
//! # When soft-RoCE is mended
//!
//! Set [`CLOSE_BEFORE_DOWN`] to false; then this file can go.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::ffi::c_void;

use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

use crate::{
    bindings,
    kernel_ext::net::init_net,
    rdma::cm::{
        CmId,
        Context, //
    }, //
};

/// Whether connections of soft-RoCE are closed before their interface goes down.
const CLOSE_BEFORE_DOWN: bool = true;

/// The longest time for which an interface is kept up for its connections to close.
///
/// That takes milliseconds. Were it to take longer, the device would need to be made again.
const LIMIT_MS: i64 = 5_000;

/// Interval at which the notifier looks whether the ids are destroyed.
const STEP_MS: i64 = 5;

/// The time for soft-RoCE to send what was posted, which it does in a worker, and for the last
/// messages of the peer to arrive and be responded to: a peer that learns of the first connection's
/// end disconnects the others, and the connection manager responds to that for ids that are
/// destroyed, too.
const QUIET: Delta = Delta::from_millis(200);

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Notifier::register`, which the module calls at load.
    unsafe(uninit) static WATCHED: Mutex<Watched> = Watched {
        ids: KVec::new(),
        closing: KVec::new(),
    };
}

/// The ids that are watched, and the interfaces that are about to go down.
struct Watched {
    ids: KVec<Entry>,
    closing: KVec<Interface>,
}

/// An index of a network interface of the namespace of all connections.
type Interface = c_int;

/// A watched id, known by its context.
struct Entry {
    context: Arc<Context>,
    /// That of the RDMA device, and that of the address, which may be a VLAN on it.
    interfaces: [Interface; 2],
}

/// Watches an id until it is dropped, which must be after the id is destroyed.
pub(in crate::rdma) struct WatchedId(Option<Arc<Context>>);

impl WatchedId {
    /// Watches nothing: an id that does not send yet.
    pub(in crate::rdma) const NONE: Self = Self(None);

    /// Watches `id`, whose device and address are known. To be called before it sends.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the interface is about to go down.
    pub(in crate::rdma) fn new(id: &CmId) -> Result<Self> {
        let device = id.device()?;
        if !CLOSE_BEFORE_DOWN || device.driver() != bindings::rdma_driver_id_RDMA_DRIVER_RXE {
            return Ok(Self::NONE);
        }
        // SAFETY: Device and id are alive; the index is constant once the address is resolved.
        let interfaces = unsafe {
            [
                bindings::rtrs_port_ifindex(device.as_ptr(), id.port()),
                (*id.as_ptr()).route.addr.dev_addr.bound_dev_if,
            ]
        };
        let context = id.context().clone();
        let entry = Entry {
            context: context.clone(),
            interfaces,
        };
        let mut watched = WATCHED.lock();
        if interfaces.iter().any(|one| watched.closing.contains(one)) {
            return Err(ENETDOWN);
        }
        watched.ids.push(entry, GFP_KERNEL)?;
        Ok(Self(Some(context)))
    }
}

impl Drop for WatchedId {
    fn drop(&mut self) {
        let Some(context) = self.0.take() else { return };
        let mut watched = WATCHED.lock();
        let found = watched
            .ids
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.context, &context));
        // Dropped without the lock.
        let entry = found.and_then(|index| watched.ids.remove(index).ok());
        drop(watched);
        drop(entry);
    }
}

/// Makes the ids of an interface close, and waits until they are destroyed.
fn close_before_down(interface: Interface) {
    let mut told = KVec::new();
    {
        let mut watched = WATCHED.lock();
        let _ = watched.closing.push(interface, GFP_KERNEL);
        for entry in &watched.ids {
            if entry.interfaces.contains(&interface) {
                let _ = told.push(entry.context.clone(), GFP_KERNEL);
            }
        }
    }
    if told.is_empty() {
        return;
    }
    for context in &told {
        context.interface_goes_down();
    }
    let is_watched = |context: &Arc<Context>| {
        let watched = WATCHED.lock();
        let mut ids = watched.ids.iter();
        ids.any(|entry| Arc::ptr_eq(&entry.context, context))
    };
    for _ in 0..LIMIT_MS / STEP_MS {
        if !told.iter().any(is_watched) {
            fsleep(QUIET);
            return;
        }
        fsleep(Delta::from_millis(STEP_MS));
    }
    pr_warn!(
        "connections over network interface {interface} did not close before it went down; if none can be made once it is up, delete and add its RDMA device\n"
    );
}

/// The interface is down, or up again: its port shows that.
fn changed(interface: Interface) {
    WATCHED.lock().closing.retain(|one| *one != interface);
}

/// The registration of the notifier. The drop ends it, and waits for calls that run.
#[pin_data(PinnedDrop)]
pub(crate) struct Notifier {
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: The block is only used by the kernel, which locks internally.
unsafe impl Send for Notifier {}
// SAFETY: As above.
unsafe impl Sync for Notifier {}

impl Notifier {
    /// Registers it ([`register_netdevice_notifier_net`]).
    ///
    /// [`register_netdevice_notifier_net`]: srctree/include/linux/netdevice.h
    ///
    /// # Safety
    ///
    /// To be called once, when the module is loaded, before anything else of [`crate::rdma`].
    pub(crate) unsafe fn register() -> Result<Pin<KBox<Self>>> {
        // SAFETY: Called once, and nothing uses the lock before, as the caller promises.
        unsafe { WATCHED.init() };
        KBox::try_pin_init(
            try_pin_init!(Self {
                block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                    // SAFETY: `block` is valid for writes and stays in place until the drop
                    // unregisters it; `notify` has the right signature.
                    unsafe {
                        block.write(bindings::notifier_block {
                            notifier_call: Some(notify),
                            ..Default::default()
                        });
                        to_result(bindings::register_netdevice_notifier_net(init_net(), block))
                    }
                }),
            }? Error),
            GFP_KERNEL,
        )
    }
}

#[pinned_drop]
impl PinnedDrop for Notifier {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `register` in this namespace.
        unsafe { bindings::unregister_netdevice_notifier_net(init_net(), self.block.get()) };
        // A static is never dropped, and its lists keep their memory while they are empty.
        let mut watched = WATCHED.lock();
        watched.ids = KVec::new();
        watched.closing = KVec::new();
    }
}

/// # Safety
///
/// Called by the network stack with the information of an event.
unsafe extern "C" fn notify(
    _block: *mut bindings::notifier_block,
    event: c_ulong,
    info: *mut c_void,
) -> c_int {
    // SAFETY: As promised.
    let interface = unsafe { bindings::rtrs_notifier_ifindex(info) };
    let event = u32::try_from(event).unwrap_or(0);
    match event {
        bindings::netdev_cmd_NETDEV_GOING_DOWN => close_before_down(interface),
        bindings::netdev_cmd_NETDEV_DOWN
        | bindings::netdev_cmd_NETDEV_UP
        | bindings::netdev_cmd_NETDEV_UNREGISTER => changed(interface),
        _ => {}
    }
    0
}
