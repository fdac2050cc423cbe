// SPDX-License-Identifier: GPL-2.0-only

//! Connection ids (`struct rdma_cm_id`) and their events.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    time::Delta, //
};

use rnbd_proto::reject_reason::RejectReason;

use crate::{
    bindings,
    kernel_ext::{
        completion::Completion,
        net::SockAddr, //
    }, //
};

use super::{
    device::{
        caller,
        CmDevice, //
    },
    quirks::{
        link_down::WatchedId,
        rxe::ack_timeout, //
    }, //
};

/// The largest number of retransmissions of a packet.
pub(super) const MAX_RETRIES: u8 = 7;

/// The largest size of private data of an event; further bytes are padding.
pub(super) const MAX_PRIVATE: usize = 64;

/// Private data that the peer sent when it accepted or rejected a connection.
#[derive(Clone, Copy)]
pub(crate) struct Private {
    bytes: [u8; MAX_PRIVATE],
    len: usize,
}

impl Private {
    /// # Safety
    ///
    /// `data` must be valid for `len` bytes, or `len` be 0.
    pub(super) unsafe fn copy(data: *const core::ffi::c_void, len: u8) -> Self {
        let mut bytes = [0; MAX_PRIVATE];
        let len = usize::from(len).min(MAX_PRIVATE);
        if len > 0 && !data.is_null() {
            // SAFETY: As promised, and `len` fits.
            unsafe { core::ptr::copy_nonoverlapping(data.cast(), bytes.as_mut_ptr(), len) };
        }
        Self { bytes, len }
    }

    /// Returns the bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Events of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CmEvent {
    /// The peer accepted, or received the acceptance.
    Established,
    /// The connection ended.
    Disconnected,
    /// The local address moved to another device.
    AddrChange,
    /// The network interface is about to go down; the id must be dropped at once.
    InterfaceDown,
    /// The device is being removed; the id must be dropped soon.
    DeviceRemoval,
}

/// Receives [`CmEvent`]s, in a worker of the connection manager. It must not drop the
/// connection, but queue that to another worker.
pub(crate) trait CmEvents: Send + Sync {
    /// Called with each event.
    fn event(&self, event: CmEvent);
}

/// Result of a step of connection setup.
#[derive(Clone, Copy)]
pub(super) enum Step {
    AddrResolved,
    RouteResolved,
    Established(Private),
    Rejected(Private, RejectReason),
    Failed(Error),
}

/// The context of an id. It outlives the id, whose destruction waits for
/// handlers that are running.
#[pin_data]
pub(super) struct Context {
    #[pin]
    step: SpinLock<Option<Step>>,
    #[pin]
    stepped: Completion,
    #[pin]
    sink: SpinLock<Option<Arc<dyn CmEvents>>>,
}

impl Context {
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                step <- new_spinlock!(None),
                stepped <- Completion::new(),
                sink <- new_spinlock!(None),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn set_sink(&self, sink: Arc<dyn CmEvents>) {
        *self.sink.lock() = Some(sink);
    }

    /// Waits for the next step. Killable.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` after `limit`, as the connection manager itself would try much longer,
    /// and `ECANCELED` when `interrupt` is raised.
    pub(super) fn wait(self: &Arc<Self>, limit: Delta, interrupt: &Interrupt) -> Result<Step> {
        interrupt.begin(self)?;
        let stepped = self.stepped.wait_killable_timeout(limit);
        interrupt.end();
        if !stepped? {
            return Err(EHOSTUNREACH);
        }
        self.stepped.reinit();
        self.step.lock().take().ok_or(EIO)
    }

    /// Tells the owner of the id that the network interface is about to go down.
    pub(super) fn interface_goes_down(&self) {
        self.deliver(CmEvent::InterfaceDown, Step::Failed(ENETDOWN));
    }

    fn end_step(&self, step: Step) {
        *self.step.lock() = Some(step);
        self.stepped.complete();
    }

    /// Passes an event to the sink, if there is one, and ends the wait for a step.
    fn deliver(&self, event: CmEvent, step: Step) {
        let sink = self.sink.lock().clone();
        if let Some(sink) = sink {
            sink.event(event);
        }
        self.end_step(step);
    }
}

/// Interrupts connection setup from another task.
#[pin_data]
pub(crate) struct Interrupt {
    #[pin]
    state: SpinLock<InterruptState>,
}

struct InterruptState {
    raised: bool,
    /// The context whose step is awaited.
    waiting: Option<Arc<Context>>,
}

impl Interrupt {
    /// Creates one that is not raised.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_spinlock!(InterruptState { raised: false, waiting: None }),
        })
    }

    /// Ends the present wait, and each later one, with `ECANCELED`.
    pub(crate) fn raise(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.raised = true;
            state.waiting.take()
        };
        if let Some(context) = waiting {
            context.end_step(Step::Failed(ECANCELED));
        }
    }

    /// Makes it not raised.
    pub(crate) fn reset(&self) {
        self.state.lock().raised = false;
    }

    fn begin(&self, context: &Arc<Context>) -> Result {
        let mut state = self.state.lock();
        if state.raised {
            return Err(ECANCELED);
        }
        state.waiting = Some(context.clone());
        Ok(())
    }

    fn end(&self) {
        // Dropped without the lock.
        let waiting = self.state.lock().waiting.take();
        drop(waiting);
    }
}

/// An owned connection id.
///
/// # Invariants
///
/// `id` is alive and owned; its context is the pointer of `context`.
pub(super) struct CmId {
    id: NonNull<bindings::rdma_cm_id>,
    context: Arc<Context>,
    /// Watches the id if it may send.
    watched: WatchedId,
}

// SAFETY: The connection manager locks internally.
unsafe impl Send for CmId {}
// SAFETY: As above.
unsafe impl Sync for CmId {}

impl CmId {
    /// Creates an id for reliable connections to `dst`
    /// ([`rdma_create_id`](srctree/include/rdma/rdma_cm.h)).
    pub(super) fn new(dst: &SockAddr) -> Result<Self> {
        let context = Context::new()?;
        // SAFETY: The handler has the right signature; the context is kept
        // alive by the value made below, which destroys the id first.
        let id = kernel::error::from_err_ptr(unsafe {
            bindings::__rdma_create_kernel_id(
                crate::kernel_ext::net::init_net(),
                Some(handler),
                Arc::as_ptr(&context).cast_mut().cast(),
                dst.port_space(),
                bindings::ib_qp_type_IB_QPT_RC,
                caller().as_char_ptr(),
            )
        })?;
        // INVARIANT: Just created with this context.
        Ok(Self {
            id: NonNull::new(id).ok_or(ENOMEM)?,
            context,
            watched: WatchedId::NONE,
        })
    }

    /// Takes over the id of a connection request.
    ///
    /// # Safety
    ///
    /// Called in the handler of the connection request of `id`; the handler must return 0
    /// after that, unless the value is forgotten.
    pub(super) unsafe fn adopt(id: NonNull<bindings::rdma_cm_id>) -> Result<Self> {
        let context = Context::new()?;
        // SAFETY: No other event of this id is delivered while its handler runs.
        unsafe {
            (*id.as_ptr()).context = Arc::as_ptr(&context).cast_mut().cast();
            (*id.as_ptr()).event_handler = Some(handler);
        }
        // INVARIANT: Set above.
        Ok(Self {
            id,
            context,
            watched: WatchedId::NONE,
        })
    }

    /// Prepares for sending: from here on the owner learns when the network interface is about
    /// to go down. To be called when the address is resolved, and before anything is sent.
    ///
    /// # Errors
    ///
    /// `ENETDOWN` when the port cannot send.
    pub(super) fn begin_sending(&mut self) -> Result {
        self.watched = WatchedId::new(self)?;
        // After that, as an interface that goes down tells those that are watched.
        match self.device()?.is_active(self.port()) {
            true => Ok(()),
            false => Err(ENETDOWN),
        }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::rdma_cm_id {
        self.id.as_ptr()
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Returns the device, known once the address is resolved.
    pub(super) fn device(&self) -> Result<CmDevice<'_>> {
        // SAFETY: The id is alive. The field is only written while resolving,
        // which is over when this is called.
        let dev =
            unsafe { &*(&raw const (*self.as_ptr()).device).cast::<*mut bindings::ib_device>() };
        if dev.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: Not null, and `NonNull` has the layout of a pointer.
        Ok(CmDevice(unsafe {
            &*core::ptr::from_ref(dev).cast::<NonNull<bindings::ib_device>>()
        }))
    }

    /// Sets the acknowledgement timeout that the device needs
    /// ([`rdma_set_ack_timeout`](srctree/include/rdma/rdma_cm.h)), and returns the number of
    /// retransmissions. To be called before the route is resolved or the connection accepted.
    pub(super) fn set_ack_timeout(&self) -> Result<u8> {
        let Some((timeout, retries)) = ack_timeout(self.device()?.driver()) else {
            return Ok(MAX_RETRIES);
        };
        // SAFETY: The id is alive.
        to_result(unsafe { bindings::rdma_set_ack_timeout(self.as_ptr(), timeout) })?;
        Ok(retries)
    }

    /// Returns the port number of the device, from 1.
    pub(super) fn port(&self) -> u32 {
        // SAFETY: As in `device`.
        unsafe { (*self.as_ptr()).port_num }
    }

    /// Returns the local address.
    pub(super) fn src(&self) -> SockAddr {
        // SAFETY: Both are `sockaddr_storage`, constant once resolved.
        unsafe { SockAddr::from_raw((&raw const (*self.as_ptr()).route.addr.src_addr).cast()) }
    }

    /// Destroys a queue pair made on this id.
    ///
    /// # Safety
    ///
    /// The id has a queue pair, which is no longer used.
    pub(super) unsafe fn destroy_qp(&self) {
        // SAFETY: As promised.
        unsafe { bindings::rdma_destroy_qp(self.as_ptr()) };
    }

    /// Forgets an id that the connection manager will destroy, and returns the context, which
    /// must be kept until then.
    pub(super) fn leave_to_handler(self) -> Arc<Context> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so each field is moved out once.
        unsafe {
            drop(core::ptr::read(&this.watched));
            core::ptr::read(&this.context)
        }
    }
}

impl Drop for CmId {
    fn drop(&mut self) {
        // SAFETY: Owned by the type invariants, and not in its own handler. Waits for handlers
        // that run.
        unsafe { bindings::rdma_destroy_id(self.as_ptr()) };
    }
}

/// # Safety
///
/// Called by the connection manager for ids of [`CmId`].
unsafe extern "C" fn handler(
    id: *mut bindings::rdma_cm_id,
    event: *mut bindings::rdma_cm_event,
) -> core::ffi::c_int {
    // SAFETY: The context of every `CmId` is a `Context` that outlives it.
    let context = unsafe { &*(*id).context.cast::<Context>() };
    // SAFETY: Valid for this call.
    let (kind, status) = unsafe { ((*event).event, (*event).status) };
    let failed = |default: Error| {
        Step::Failed(if status < 0 {
            Error::from_errno(status)
        } else {
            default
        })
    };
    // SAFETY: Connection events carry this member of the union.
    let private = || unsafe {
        let conn = (*event).param.conn.as_ref();
        Private::copy(conn.private_data, conn.private_data_len)
    };
    match kind {
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ADDR_RESOLVED => {
            context.end_step(Step::AddrResolved)
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ROUTE_RESOLVED => {
            context.end_step(Step::RouteResolved)
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ADDR_ERROR
        | bindings::rdma_cm_event_type_RDMA_CM_EVENT_ROUTE_ERROR => {
            // For users every cause means the same.
            context.end_step(Step::Failed(EHOSTUNREACH))
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ESTABLISHED => {
            context.deliver(CmEvent::Established, Step::Established(private()))
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_REJECTED => context.deliver(
            CmEvent::Disconnected,
            Step::Rejected(private(), RejectReason::from_status(status)),
        ),
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_UNREACHABLE => {
            context.deliver(CmEvent::Disconnected, Step::Failed(EHOSTUNREACH))
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_CONNECT_ERROR
        | bindings::rdma_cm_event_type_RDMA_CM_EVENT_DISCONNECTED
        | bindings::rdma_cm_event_type_RDMA_CM_EVENT_TIMEWAIT_EXIT => {
            context.deliver(CmEvent::Disconnected, failed(ECONNRESET))
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_ADDR_CHANGE => {
            context.deliver(CmEvent::AddrChange, failed(ECONNRESET))
        }
        bindings::rdma_cm_event_type_RDMA_CM_EVENT_DEVICE_REMOVAL => {
            context.deliver(CmEvent::DeviceRemoval, Step::Failed(ENODEV))
        }
        _ => {}
    }
    // With another result the connection manager would destroy the id, which is owned here.
    0
}
