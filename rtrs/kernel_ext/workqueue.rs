// SPDX-License-Identifier: GPL-2.0-only

//! Work queues of our own.
//!
//! A module makes its queues at load and drops them at unload. Drop waits for
//! everything that was ever queued, delayed items included, so that nothing of
//! it runs once the module is gone. For that each item that is pending or running
//! holds a [`WorkRef`], and a queue that is being dropped gives out no new ones.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::sync::atomic::ordering;
use kernel::sync::atomic::Atomic;
use kernel::sync::Arc;
use kernel::workqueue::Queue;

use super::completion::Completion;
use crate::bindings;

/// Which workers run the items of a queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WorkqueueKind {
    /// Any CPU, as many at a time as there are.
    Unbound,
    /// Those of the CPU that queued.
    PerCpu,
    /// Those of the CPU that queued, before other tasks of it.
    Urgent,
}

/// A work queue with a rescuer, thus fit for the path that writes out memory.
///
/// Drop refuses new items and waits for those there are: it must not happen in an
/// item of the queue itself. Items of a module should be on queues of that same
/// module, as it is the queue that keeps the module's code in place.
pub struct OwnedWorkqueue(WorkqueueHandle);

/// A handle to queue items with.
#[derive(Clone)]
pub struct WorkqueueHandle(Arc<Inner>);

/// # Invariants
///
/// `users` is the number of permits, plus one until the queue is being dropped.
/// `wq` is valid while it is not zero.
#[pin_data]
struct Inner {
    wq: NonNull<bindings::workqueue_struct>,
    users: Atomic<i32>,
    closing: Atomic<bool>,
    /// Completed when `users` becomes zero.
    #[pin]
    idle: Completion,
}

// SAFETY: Work queues may be used from any context.
unsafe impl Send for Inner {}
// SAFETY: Work queues do their own locking; the rest is atomic.
unsafe impl Sync for Inner {}

impl OwnedWorkqueue {
    /// Creates a queue called `name` in `ps` and the like.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(name: &CStr, kind: WorkqueueKind) -> Result<Self> {
        let kind = match kind {
            WorkqueueKind::Unbound => bindings::wq_flags_WQ_UNBOUND,
            WorkqueueKind::PerCpu => bindings::wq_flags_WQ_PERCPU,
            WorkqueueKind::Urgent => bindings::wq_flags_WQ_PERCPU | bindings::wq_flags_WQ_HIGHPRI,
        };

        // SAFETY: Format and argument agree; the name is copied. 0 asks for the
        // default number of items at a time.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                kind | bindings::wq_flags_WQ_MEM_RECLAIM,
                0,
                name.as_char_ptr(),
            )
        };
        let wq = NonNull::new(wq).ok_or(ENOMEM)?;

        // INVARIANT: No permits, and the queue is not being dropped.
        let inner = Arc::pin_init(
            pin_init!(Inner {
                wq,
                users: Atomic::new(1),
                closing: Atomic::new(false),
                idle <- Completion::new(),
            }),
            GFP_KERNEL,
        );
        match inner {
            Ok(inner) => Ok(Self(WorkqueueHandle(inner))),
            Err(err) => {
                // SAFETY: Made above, with nothing on it.
                unsafe { bindings::destroy_workqueue(wq.as_ptr()) };
                Err(err)
            }
        }
    }

    /// A handle to queue items with.
    pub fn handle(&self) -> WorkqueueHandle {
        self.0.clone()
    }

    /// Waits for the items queued before, except those still delayed.
    pub fn flush(&self) {
        // SAFETY: The queue is valid until drop.
        unsafe { bindings::__flush_workqueue(self.0 .0.wq.as_ptr()) };
    }

    /// Runs `job` once on the queue; see [`WorkqueueHandle::spawn`].
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) -> Result {
        self.0.spawn(job)
    }
}

impl Drop for OwnedWorkqueue {
    fn drop(&mut self) {
        let inner = &self.0 .0;

        inner.closing.store(true, ordering::Relaxed);
        inner.release();
        inner.idle.wait();

        // SAFETY: No permits are left and none can be had, so that nothing is
        // pending, not even a timer. This waits for the last item to return.
        unsafe { bindings::destroy_workqueue(inner.wq.as_ptr()) };
    }
}

impl Inner {
    fn release(&self) {
        // The completion must see all that was done under the permit.
        if self.users.fetch_sub(1, ordering::Full) == 1 {
            self.idle.complete_all();
        }
    }
}

impl WorkqueueHandle {
    /// Runs `job` once on the queue. Sleeps to allocate.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and `ESHUTDOWN` when the queue is being dropped.
    pub fn spawn(&self, job: impl FnOnce() + Send + 'static) -> Result {
        let permit = self.permit().ok_or(ESHUTDOWN)?;

        // SAFETY: The permit keeps the queue; the reference is not kept.
        let queue = unsafe { Queue::from_raw(self.as_raw()) };
        queue.try_spawn(GFP_KERNEL, move || {
            job();
            drop(permit);
        })?;
        Ok(())
    }

    /// Asks for leave to queue an item.
    pub(super) fn permit(&self) -> Option<WorkRef> {
        let inner = &self.0;
        if inner.closing.load(ordering::Relaxed) {
            return None;
        }

        let mut users = inner.users.load(ordering::Relaxed);
        while users > 0 {
            match inner
                .users
                .cmpxchg(users, users.wrapping_add(1), ordering::Full)
            {
                // INVARIANT: Counted just now.
                Ok(_) => return Some(WorkRef(self.clone())),
                Err(now) => users = now,
            }
        }
        None
    }

    /// Takes over a permit that was [parked](Permit::park).
    ///
    /// # Safety
    ///
    /// A permit of this queue was parked and not been taken over yet.
    pub(super) unsafe fn unpark(&self) -> WorkRef {
        // INVARIANT: Still counted, by the safety requirements.
        WorkRef(self.clone())
    }

    /// The C object. Valid while a permit exists.
    pub(super) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.0.wq.as_ptr()
    }
}

/// Keeps the queue from going. One for each item that is pending or running.
///
/// # Invariants
///
/// Counted in the `users` of the queue.
pub(super) struct WorkRef(WorkqueueHandle);

impl WorkRef {
    /// Stays counted without an object, as the one of a pending item.
    pub(super) fn park(self) {
        let this = core::mem::ManuallyDrop::new(self);

        // SAFETY: Not used again, as `this` is never dropped.
        drop(unsafe { core::ptr::read(&this.0) });
    }
}

impl Drop for WorkRef {
    fn drop(&mut self) {
        self.0 .0.release();
    }
}
