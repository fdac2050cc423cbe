// SPDX-License-Identifier: GPL-2.0-only

//! Workqueues that wait for their work items when they are dropped.
//!
//! A module creates its workqueues at load and drops them at unload. The drop waits for
//! every item that was ever queued, delayed items included, so that none runs once the
//! module is gone.
//!
//! # Why no item outlives its workqueue
//!
//! - Each item that is pending, on its timer or running holds a [`QueueRef`], taken before
//!   it is queued.
//! - The references are counted in a `percpu_ref`: scheduling an item writes to a counter of
//!   the own CPU only, so CPUs that schedule items on the same workqueue share no cache line
//!   for that.
//! - The drop kills the `percpu_ref`. From then on no new reference can be had; those that
//!   another CPU took at the same moment are counted, as the kill waits for an RCU grace
//!   period before it adds the counters up.
//! - `release` runs when the last reference is dropped. Then nothing is pending, not even a
//!   timer; `destroy_workqueue` waits for the last item to return.
//!
//! C headers: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h),
//! [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use core::ptr::NonNull;

use kernel::{
    container_of,
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::Arc,
    types::Opaque,
    workqueue::Queue, //
};

use crate::bindings;

use super::completion::Completion;

/// Which workers run the items of a workqueue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WorkqueueKind {
    /// Workers on any CPU (`WQ_UNBOUND`).
    Unbound,
    /// At most so many workers at a time, on any CPU.
    UnboundAtMost(u16),
    /// Workers of the CPU that queued the item, at high priority (`WQ_HIGHPRI`).
    Urgent,
}

/// An owned workqueue with a rescuer (`WQ_MEM_RECLAIM`): its items run even while the kernel
/// is out of memory and writes pages out.
///
/// The drop refuses new items and waits for those that exist; it must not happen in an item
/// of the workqueue itself. The items of a module should be on workqueues of that module,
/// as the workqueue keeps the module's code in place.
pub struct OwnedWorkqueue(WorkqueueHandle);

/// A handle to queue items with.
#[derive(Clone)]
pub struct WorkqueueHandle(Arc<Inner>);

/// # Invariants
///
/// - `refs` is initialised. Its initial reference belongs to the [`OwnedWorkqueue`]; every
///   other one is a [`QueueRef`], which may be leaked.
/// - `wq` is valid, and `Self` stays allocated, while a reference exists.
#[pin_data(PinnedDrop)]
struct Inner {
    wq: NonNull<bindings::workqueue_struct>,
    #[pin]
    refs: Opaque<bindings::percpu_ref>,
    /// Completed when the last reference is dropped.
    #[pin]
    idle: Completion,
}

// SAFETY: Workqueues may be used from any context.
unsafe impl Send for Inner {}
// SAFETY: Workqueues, `percpu_ref` and completions do their own locking.
unsafe impl Sync for Inner {}

impl OwnedWorkqueue {
    /// Creates a workqueue with [`alloc_workqueue`]; `name` is that of its rescuer.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// [`alloc_workqueue`]: srctree/include/linux/workqueue.h
    pub fn new(name: &CStr, kind: WorkqueueKind) -> Result<Self> {
        // 0 asks for the default number of concurrent items.
        let (flags, max_active) = match kind {
            WorkqueueKind::Unbound => (bindings::wq_flags_WQ_UNBOUND, 0),
            WorkqueueKind::UnboundAtMost(count) => {
                (bindings::wq_flags_WQ_UNBOUND, c_int::from(count))
            }
            WorkqueueKind::Urgent => (
                bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_HIGHPRI,
                0,
            ),
        };

        // SAFETY: Format and argument agree; the name is copied.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags | bindings::wq_flags_WQ_MEM_RECLAIM,
                max_active,
                name.as_char_ptr(),
            )
        };
        let wq = NonNull::new(wq).ok_or(ENOMEM)?;

        // INVARIANT: The initial reference belongs to the object returned.
        let inner = Arc::pin_init(
            try_pin_init!(Inner {
                wq,
                refs <- Opaque::try_ffi_init(|refs| {
                    // SAFETY: `refs` is valid for writes and stays in place, and `release`
                    // is made for it.
                    to_result(unsafe {
                        bindings::percpu_ref_init(refs, Some(release), 0, bindings::GFP_KERNEL)
                    })
                }),
                idle <- Completion::new(),
            }),
            GFP_KERNEL,
        );
        match inner {
            Ok(inner) => Ok(Self(WorkqueueHandle(inner))),
            Err(err) => {
                // SAFETY: Created above, with no items on it.
                unsafe { bindings::destroy_workqueue(wq.as_ptr()) };
                Err(err)
            }
        }
    }

    /// Returns a handle to queue items with.
    pub fn handle(&self) -> WorkqueueHandle {
        self.0.clone()
    }

    /// Waits for the items queued before this call, except those still delayed
    /// ([`flush_workqueue`](srctree/include/linux/workqueue.h)).
    pub fn flush(&self) {
        // SAFETY: The workqueue is valid until drop.
        unsafe { bindings::__flush_workqueue(self.0 .0.wq.as_ptr()) };
    }

    /// Runs `job` once on the workqueue; see [`WorkqueueHandle::spawn`].
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) -> Result {
        self.0.spawn(job)
    }
}

impl Drop for OwnedWorkqueue {
    fn drop(&mut self) {
        let inner = &self.0 .0;

        // SAFETY: Initialised; killed only here, which drops the initial reference.
        unsafe { bindings::percpu_ref_kill_and_confirm(inner.refs.get(), None) };
        inner.idle.wait();

        // SAFETY: No references are left and none can be had, so nothing is pending, not
        // even a timer. This waits for the last item to return.
        unsafe { bindings::destroy_workqueue(inner.wq.as_ptr()) };
    }
}

#[pinned_drop]
impl PinnedDrop for Inner {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised, and no reference is left: `OwnedWorkqueue::drop` has waited for
        // the last one.
        unsafe { bindings::percpu_ref_exit(self.refs.get()) };
    }
}

/// Tells the drop of a workqueue that its last reference was dropped.
///
/// # Safety
///
/// To be called by the `percpu_ref` of an [`Inner`].
unsafe extern "C" fn release(refs: *mut bindings::percpu_ref) {
    // SAFETY: By the safety requirements. The object is freed only after the wait that
    // this ends; this function itself runs in an RCU section, for which the unload of its
    // module waits.
    let inner = unsafe { &*container_of!(Opaque::cast_from(refs), Inner, refs) };

    inner.idle.complete_all();
}

impl WorkqueueHandle {
    /// Runs `job` once on the workqueue. Sleeps to allocate.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and `ESHUTDOWN` when the workqueue is being dropped.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) -> Result {
        let queue_ref = self.try_get().ok_or(ESHUTDOWN)?;

        // SAFETY: `queue_ref` keeps the workqueue valid, and `queue` is dropped before it.
        let queue = unsafe { Queue::from_raw(self.as_raw()) };
        queue.try_spawn(GFP_KERNEL, move || {
            job();
            drop(queue_ref);
        })?;
        Ok(())
    }

    /// Takes a reference for an item that is about to be queued. From any context.
    ///
    /// `None` when the workqueue is being dropped.
    pub(super) fn try_get(&self) -> Option<QueueRef> {
        // SAFETY: Initialised by the type invariants of `Inner`.
        let live = unsafe { bindings::percpu_ref_tryget_live(self.0.refs.get()) };

        // INVARIANT: Taken just now.
        live.then(|| QueueRef(NonNull::from(&*self.0)))
    }

    /// Returns a reference that was [leaked](QueueRef::leak).
    ///
    /// # Safety
    ///
    /// A reference to this workqueue was leaked, and has not been reclaimed since.
    pub(super) unsafe fn reclaim(&self) -> QueueRef {
        // INVARIANT: Still counted, by the safety requirements.
        QueueRef(NonNull::from(&*self.0))
    }

    /// Returns the C object. Valid while a [`QueueRef`] exists.
    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.wq.as_ptr()
    }
}

/// A reference that keeps a workqueue alive. Each item that is pending or running has one.
///
/// # Invariants
///
/// Counted in the `refs` of the object pointed to. That object is allocated: it belongs to
/// the [`OwnedWorkqueue`], whose drop waits for this reference.
pub(super) struct QueueRef(NonNull<Inner>);

// SAFETY: References may be dropped on any CPU, in any context.
unsafe impl Send for QueueRef {}

impl QueueRef {
    /// Passes the reference to a queued item, which [reclaims](WorkqueueHandle::reclaim) it.
    pub(super) fn leak(self) {
        core::mem::forget(self);
    }
}

impl Drop for QueueRef {
    fn drop(&mut self) {
        // SAFETY: Allocated, and counted, by the type invariants. The object may be freed as
        // soon as the count was decremented, and is not touched after that.
        unsafe { bindings::percpu_ref_put((*self.0.as_ptr()).refs.get()) };
    }
}
